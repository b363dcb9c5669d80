"""sqlite3 database files on DIR: rollback journal, WAL, two connections, a reader while a writer writes, integrity."""
import os
import sqlite3
import sys
import threading

os.chdir(sys.argv[1])
for mode in ("delete", "truncate", "persist", "wal"):
    name = "metrics-%s.db" % mode
    db = sqlite3.connect(name)
    assert db.execute("pragma journal_mode=%s" % mode).fetchone()[0] == mode, mode
    db.execute("create table t(step integer primary key, loss real, blob blob)")
    db.commit()
    stop = threading.Event()
    errors = []

    def read():
        other = sqlite3.connect(name, timeout=30)
        seen = 0
        while not stop.is_set():
            n, total = other.execute("select count(*), coalesce(sum(step), 0) from t").fetchone()
            if n < seen or total != n * (n - 1) // 2:
                errors.append((n, total, seen))
                return
            seen = n
    reader = threading.Thread(target=read)
    reader.start()
    db.execute("pragma busy_timeout=30000")
    step = 0
    for _ in range(30):
        with db:
            for _ in range(20):
                db.execute("insert into t values(?, ?, ?)", (step, step * 0.5, bytes([step % 256]) * 500))
                step += 1
    stop.set()
    reader.join()
    assert not errors, errors
    with db:
        db.execute("delete from t where step % 3 = 0")
    db.execute("vacuum")
    db.close()
    db = sqlite3.connect(name)
    assert db.execute("pragma integrity_check").fetchone()[0] == "ok"
    rows = db.execute("select step, loss, blob from t order by step").fetchall()
    assert rows == [(i, i * 0.5, bytes([i % 256]) * 500) for i in range(600) if i % 3], len(rows)
    db.close()
