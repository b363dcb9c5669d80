#!/bin/bash
# The commands that look into checkpoints (show, diff, stat, runs, best): on files of this machine, in a store, and through the
# owner of a mounted store, with the same output.  The files are made by Python alone: safetensors, and pickles without tensors.
. "$(dirname "$0")/lib.sh"
c=$CKPTFS
cd "$T" || exit 1

python3 - <<'PY'
import json, os, pickle, random, struct

random.seed(7)


def safetensors(path, **tensors):  # name=(dtype, shape, bytes)
    head, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        head[name.replace("__", ".")] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)


weights = [random.random() for _ in range(200000)]
for e, accuracy, loss in (1, 0.5, 0.9), (2, 0.8, 0.7), (3, 0.7, 0.6):
    d = "work/exp/%d" % e
    w = weights[:-1] + [weights[-1] + 0.5 * (e - 1)]
    safetensors(d + "/model.safetensors", fc__weight=("F32", [400, 500], struct.pack("<200000f", *w)),
                fc__bias=("F32", [4], struct.pack("<4f", 0, 1, 2, 3)))
    json.dump({"epoch": e, "accuracy": accuracy, "loss": loss, "StreamForgetting": loss}, open(d + "/metrics.json", "w"))
safetensors("work/half.safetensors", x=("F16", [3], b"\0\x3c" * 3))
safetensors("work/single.safetensors", x=("F32", [3], struct.pack("<3f", 1, 1, 1)))


class Boom:
    def __reduce__(self):
        return os.system, ("touch executed",)


pickle.dump({"epoch": 3, "b": Boom()}, open("work/hostile.pt", "wb"), protocol=2)
open("work/text.txt", "w").write("no checkpoint\n")
open("work/torn.safetensors", "wb").write(open("work/exp/1/model.safetensors", "rb").read()[:-5])
PY

# ---- by itself
for k in show diff stat runs best; do
	ok "$k --help, status 0" sh -c '"$1" $2 --help | grep -q -- "ckptfs $2"' sh "$c" $k
	ok "$k with an unknown option, status 2" status_is 2 "$c" $k --no-such-option
	ok "$k without operands, status 2" status_is 2 "$c" $k
done
ok "best with a mode that is none, status 2" status_is 2 "$c" best --mode=most x.ckptfs:run
ok "best with a patience that is none, status 2" status_is 2 "$c" best --patience=0 x.ckptfs:run

# ---- show
ok "show names the tensors" sh -c '"$1" show work/exp/1/model.safetensors | grep -q "weight.*float32"' sh "$c"
ok "show --json is JSON" sh -c '"$1" show --json work/exp/1/model.safetensors | python3 -m json.tool >/dev/null' sh "$c"
ok "show of a pickle that runs a command" sh -c '"$1" show work/hostile.pt | grep -q system' sh "$c"
ok "does not run it" test ! -e executed
ok "show of a text, status 3" status_is 3 "$c" show work/text.txt
ok "show of a damaged file, status 1" status_is 1 "$c" show work/torn.safetensors
ok "show of what is not there, status 3" status_is 3 "$c" show work/none
ok "no colours where there is no terminal" sh -c '! "$1" show work/exp/1/model.safetensors | grep -q "$(printf "\033")"' sh "$c"

# ---- diff
a=work/exp/1/model.safetensors b=work/exp/2/model.safetensors
equal "diff of a file with itself is silent" "" "$c" diff $a $a
ok "diff of two, status 1" status_is 1 "$c" diff $a $b
ok "tells the one tensor" sh -c '"$1" diff "$2" "$3" | grep -E "^~ fc.weight  *float32.400, 500.  *1 of 200000  *0.5 "' sh "$c" $a $b
ok "and not the other" sh -c '! "$1" diff "$2" "$3" | grep bias' sh "$c" $a $b
ok "diff of two dtypes tells bits only" sh -c '"$1" diff work/half.safetensors work/single.safetensors | grep -q "float16.3. -> float32.3..*bits only"' sh "$c"
ok "diff of other names" sh -c '"$1" diff "$2" work/half.safetensors >said; [ $? = 1 ] && grep -q "^- fc.bias" said && grep -q "^+ x" said' sh "$c" $a
ok "diff of no checkpoints goes by bytes" sh -c '"$1" diff work/text.txt "$2" | grep -q "^bytes differ"' sh "$c" $a
ok "diff of directories" sh -c '"$1" diff work/exp work/exp && ! "$1" diff work/exp/1 work/exp/2 >said && grep -q "^0 files the same, 2 differ" said' sh "$c"
ok "diff of a file and a directory, status 3" status_is 3 "$c" diff $a work
ok "diff of what is not there, status 3" status_is 3 "$c" diff $a work/none
ok "diff --json is JSON" sh -c '"$1" diff --json "$2" "$3" | python3 -c "
import json, sys
o = json.load(sys.stdin)
assert o[\"same\"] is False and o[\"files\"][0][\"changes\"][0][\"distance\"][\"unequal\"] == 1"' sh "$c" $a $b

# ---- in a store, and on a mounted one
rm work/torn.safetensors # a view tells the log of it
ok "import" "$c" import work store.ckptfs:/
# `last` is only a copy: it shares all.
ok "a copy" "$c" cp store.ckptfs:work/exp/3/model.safetensors store.ckptfs:work/copy.safetensors
"$c" gc store.ckptfs >/dev/null
commands() { # on $1, which is a store
	w=$1:work
	for args in "show $w/exp/1/model.safetensors" "show --json $w/hostile.pt" "show $w/text.txt" "show $w/none" \
		"diff $w/exp/1 $w/exp/2" "diff $w/exp/1/model.safetensors work/exp/1/model.safetensors" \
		"diff work/exp/1/model.safetensors $w/exp/3/model.safetensors" "diff --json $w $w" \
		"stat $w/exp/1/model.safetensors" "stat --json $w/copy.safetensors" "stat $w" \
		"runs $1" "runs --json $w" "runs $1:none" "best --metric=accuracy $w/exp" "best --metric=loss $w/exp" \
		"best --metric=loss --mode=max --patience=2 $w/exp" "best --metric=none $w/exp" "best $w/none"; do
		echo "== $args"
		# shellcheck disable=SC2086 # words
		"$c" $args 2>&1
		echo "-- $?"
	done
}
commands store.ckptfs >direct
answer() { awk -v want="== $1" '$0 == want { on = 1; next } on && /^-- / { exit } on' direct; } # to one of them
ok "diff of a store with this machine's file" sh -c 'test -z "$1"' sh \
	"$(answer "diff store.ckptfs:work/exp/1/model.safetensors work/exp/1/model.safetensors")"
ok "diff finds a view's dtype" sh -c '"$1" diff store.ckptfs:work/single.safetensors store.ckptfs:@fp16/work/single.safetensors |
	grep -q "float32.3. -> float16.3..*bits only"' sh "$c"
ok "stat tells the codecs and the chunks" sh -c 'echo "$1" | grep -q "^by codec" && echo "$1" | grep -q "^stored .* chunks"' sh \
	"$(answer "stat store.ckptfs:work/exp/1/model.safetensors")"
ok "a copy shares with its original, and has nothing alone" python3 - "$(answer "stat --json store.ckptfs:work/copy.safetensors")" <<'PY'
import json, sys
o = json.loads(sys.argv[1])
assert o["size"] > 800000 and o["stored"] > 0, o
assert "work/exp/3/model.safetensors" in [s["path"] for s in o["shared"]], o
assert o["alone"] < o["stored"], o
PY
ok "stat of a directory, status 3" status_is 3 "$c" stat store.ckptfs:work
ok "runs lists the run" sh -c 'echo "$1" | grep -Eq "^ *3  *3 .* work/exp$"' sh "$(answer "runs store.ckptfs")"
ok "runs of what is not there, status 3" status_is 3 "$c" runs store.ckptfs:none
equal "best by a metric that shall be high" store.ckptfs:@runs/work/exp/2 "$c" best --metric=accuracy store.ckptfs:work/exp
equal "best by a loss" store.ckptfs:@runs/work/exp/3 "$c" best --metric=loss store.ckptfs:work/exp
equal "best by words run together" store.ckptfs:@runs/work/exp/3 "$c" best --metric=StreamForgetting store.ckptfs:work/exp
equal "best the other way round" store.ckptfs:@runs/work/exp/1 "$c" best --metric=loss --mode=max store.ckptfs:work/exp
ok "status 10 when nothing was better for two" status_is 10 "$c" best --metric=loss --mode=max --patience=2 store.ckptfs:work/exp
ok "status 0 when it is only one" status_is 0 "$c" best --metric=accuracy --patience=2 store.ckptfs:work/exp
fails "a metric that is not there: the others are named" "there are: .*accuracy" "$c" best --metric=none store.ckptfs:work/exp
ok "and the status is 3" status_is 3 "$c" best --metric=none store.ckptfs:work/exp
need_fuse
mount_store
commands store.ckptfs >served
ok "the same output and statuses on a mounted store" diff direct served
ok "show by mount point" sh -c '"$1" show "$2/work/exp/1/model.safetensors" | grep -q weight' sh "$c" "$M"
equal "best by mount point is a path there" "$M/@runs/work/exp/2" "$c" best --metric=accuracy "$M/work/exp"
ok "which is" test -d "$("$c" best --metric=accuracy "$M/work/exp")"
best_from() { # DIRECTORY RUN: as said there, and led by it to the experience
	(cd "$1" && there=$("$c" best --metric=accuracy "$2") && echo "$there" && test -d "$there")
}
equal "best by a path from the root of the mount" @runs/work/exp/2 best_from "$M" work/exp
equal "by a path from within it" ../@runs/work/exp/2 best_from "$M/work" exp
equal "by a path that goes up" ../../@runs/work/exp/2 best_from "$M/work/exp" ../../work/exp
equal "by the directory itself" ./../../@runs/work/exp/2 best_from "$M/work/exp" .
umount_store
done_testing
