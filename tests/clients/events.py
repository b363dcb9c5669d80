"""TensorBoard event files: appended by a writer, tailed by a reader in another process, on DIR."""
import multiprocessing
import os
import sys
import time

N = 200


def write(where):
    from torch.utils.tensorboard import SummaryWriter
    w = SummaryWriter(where, flush_secs=1)
    for i in range(N):
        w.add_scalar("loss", i * 0.5, i)
        if i % 20 == 0:
            w.flush()
            time.sleep(0.05)
    w.close()


def main(where):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    os.mkdir(where)
    p = multiprocessing.get_context("spawn").Process(target=write, args=(where,))
    p.start()
    seen, grew = 0, 0
    acc = EventAccumulator(where, size_guidance={"scalars": 0})
    deadline = time.monotonic() + 120
    while seen < N and time.monotonic() < deadline:
        acc.Reload()
        n = len(acc.Scalars("loss")) if "loss" in acc.Tags()["scalars"] else 0
        assert n >= seen, "the reader lost events"
        grew += n > seen
        seen = n
        time.sleep(0.02)
    p.join()
    assert p.exitcode == 0
    got = [(e.step, e.value) for e in acc.Scalars("loss")]
    assert got == [(i, i * 0.5) for i in range(N)], got[-3:]
    assert grew >= 2, "never seen while it grew"


if __name__ == "__main__":
    main(os.path.join(sys.argv[1], "tb"))
