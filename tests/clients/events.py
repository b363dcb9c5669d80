"""TensorBoard event files: appended by a writer, tailed by a reader in another process, on DIR."""
import multiprocessing
import os
import sys
import time

N = 200
DEADLINE = 300  # seconds; nothing takes that long


def write(where, seen):
    from torch.utils.tensorboard import SummaryWriter
    w = SummaryWriter(where, flush_secs=1)
    for i in range(N):
        w.add_scalar("loss", i * 0.5, i)
        if i % 20 == 0:
            w.flush()
            end = time.monotonic() + DEADLINE
            while seen.value <= i:  # what was flushed is seen while the file is open
                assert time.monotonic() < end, "event %d is not seen" % i
                time.sleep(0.01)
    w.close()


def main(where):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    os.mkdir(where)
    spawn = multiprocessing.get_context("spawn")
    seen, grew = spawn.Value("i", 0), 0
    p = spawn.Process(target=write, args=(where, seen), daemon=True)
    p.start()
    acc = EventAccumulator(where, size_guidance={"scalars": 0})
    ended = False
    while seen.value < N and not ended:
        ended = not p.is_alive()  # then this is the last look
        acc.Reload()
        n = len(acc.Scalars("loss")) if "loss" in acc.Tags()["scalars"] else 0
        assert n >= seen.value, "the reader lost events"
        grew += n > seen.value
        seen.value = n
        time.sleep(0.02)
    p.join()
    assert p.exitcode == 0
    got = [(e.step, e.value) for e in acc.Scalars("loss")]
    assert got == [(i, i * 0.5) for i in range(N)], got[-3:]
    assert grew >= N // 20, "not seen while it grew"


if __name__ == "__main__":
    main(os.path.join(sys.argv[1], "tb"))
