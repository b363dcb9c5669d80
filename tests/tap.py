"""TAP for the Python halves of the suites: tests are functions under @test, run() runs them."""
import errno
import os
import sys
import traceback

_tests = []


class Skip(Exception):
    pass


def test(what):
    def add(fn):
        _tests.append((what, fn))
        return fn
    return add


def check(condition, message="not so"):
    if not condition:
        raise AssertionError(message)


def equal(got, expected, what=""):
    if got != expected:
        def short(v):
            r = repr(v)
            return r if len(r) < 300 else r[:140] + " ... " + r[-140:]
        raise AssertionError("%s%sgot %s, expected %s" % (what, ": " if what else "", short(got), short(expected)))


def fails(number, fn, *args, **kw):
    """fn must fail with this errno."""
    try:
        fn(*args, **kw)
    except OSError as e:
        if e.errno != number:
            raise AssertionError("%s%r: got %s, expected %s" % (
                getattr(fn, "__name__", fn), args, errno.errorcode.get(e.errno, e.errno), errno.errorcode[number]))
        return
    raise AssertionError("%s%r succeeded, expected %s" % (getattr(fn, "__name__", fn), args, errno.errorcode[number]))


def run(base):
    """Runs every test in a directory of its own under base."""
    failed = 0
    for n, (what, fn) in enumerate(_tests, 1):
        where = os.path.join(base, "t%03d" % n)
        try:
            os.mkdir(where)
            os.chdir(where)
            fn()
            print("ok %d - %s" % (n, what), flush=True)
        except Skip as e:
            print("ok %d - %s # SKIP %s" % (n, what, e), flush=True)
        except BaseException:
            failed += 1
            print("not ok %d - %s" % (n, what))
            for line in traceback.format_exc().splitlines():
                print("#   " + line)
            sys.stdout.flush()
        finally:
            os.chdir(base)
    return 1 if failed else 0
