# ckptfs: a filesystem for neural-network checkpoints.  `make help` lists what there is.
#
# One Makefile for the whole tree.  Source lists are explicit: a new file is added here, in the list of its room
# (tests/layers.sh fails for a file that is in no list).  Variants are built side by side:
#
#   make                             build/
#   make DEV=1                       build/dev/               every warning is an error
#   make SAN=address,undefined       build/san-address-undefined/
#   make SAN=thread                  build/san-thread/
#
# Nothing is asked of pkg-config before a recipe needs it, so that the targets that install the tools work without them.

VERSION = 0.1.0

PREFIX  ?= /usr/local
DESTDIR ?=
BINDIR   = $(PREFIX)/bin
# mount(8) looks for its helpers nowhere else.
HELPERDIR ?= /sbin
MANDIR   = $(PREFIX)/share/man
UNITDIR  = $(PREFIX)/lib/systemd/system

# ---- sources ---------------------------------------------------------------------------------------------------

CODEC_SRC = codec/byte_buf.c codec/ckpt_error.c codec/ckpt_wait.c codec/codec_bins.c \
	codec/codec_bins_avx2.c codec/codec_chunk.c \
	codec/codec_container.c codec/codec_cut.c codec/codec_delta.c codec/codec_drift.c codec/codec_float.c codec/codec_hash.c \
	codec/codec_image.c codec/image_linear.c codec/codec_pages.c codec/codec_planes.c codec/codec_print.c codec/codec_probe.c codec/codec_rans.c codec/codec_rans_avx512.c \
	codec/codec_rans_decode.c codec/codec_rans_encode.c codec/codec_simd.c codec/codec_text.c \
	codec/codec_version.c codec/codec_work.c codec/container_legacy.c codec/container_npy.c \
	codec/container_pickle.c codec/container_safetensors.c codec/container_zip.c codec/cut_content.c \
	codec/cut_legacy.c codec/cut_npy.c codec/cut_safetensors.c codec/cut_table.c codec/cut_twin.c codec/cut_unknown.c \
	codec/cut_zip.c codec/json_text.c codec/npy_header.c codec/pickle_build.c \
	codec/pickle_edit.c codec/pickle_graph.c codec/pickle_memo.c codec/pickle_op.c codec/pickle_parse.c codec/pickle_walk.c \
	codec/pickle_words.c codec/pickle_write.c codec/read_window.c codec/record_name.c codec/safetensors_read.c codec/safetensors_scan.c \
	codec/torch_dtype.c codec/torch_edit.c codec/torch_file.c codec/torch_names.c codec/torch_object.c \
	codec/torch_places.c codec/torch_tensor.c codec/torch_value.c codec/zip_read.c codec/zip_write.c
STORE_SRC = store/chunk_base.c store/chunk_cache.c store/chunk_db.c store/chunk_index.c store/chunk_name.c store/chunk_open.c store/chunk_plain.c \
	store/chunk_pin.c store/chunk_pipe.c store/chunk_row.c store/chunk_stage.c store/cost.c store/derived.c store/dirlist.c store/extents.c store/file.c \
	store/file_clone.c store/file_content.c store/file_jobs.c store/file_publish.c store/file_read.c store/file_same.c store/file_write.c store/gc.c store/gc_bases.c store/gc_mark.c store/history.c \
	store/manifest.c store/meta.c store/meta_schema.c store/meta_shrink.c store/db_flags.c store/meta_txn.c store/meta_upgrade.c store/page_file.c store/page_sums.c store/pathof.c store/pool.c store/pool_fill.c store/pool_thin.c store/recode.c store/recompress.c store/recompress_idle.c store/recompress_near.c store/record.c store/reserve.c store/row_pages.c \
	store/stats.c store/store.c store/store_lock.c store/store_vfs.c store/tree.c store/tree_attr.c store/tree_late.c store/tree_loose.c \
	store/tree_remove.c store/tree_rename.c store/tree_seen.c store/usage.c store/verify.c store/verify_pages.c store/version_hold.c store/vfs_gather.c store/xattr.c
FS_SRC = fs/fs.c fs/fs_change.c fs/fs_dir.c fs/fs_dying.c fs/fs_fuse.c fs/fs_handle.c fs/fs_inode.c \
	fs/fs_mount.c fs/fs_name.c fs/fs_path.c fs/fs_session.c fs/fs_table.c fs/fs_view.c fs/fs_xattr.c \
	fs/fuse_dir.c fs/fuse_loop.c fs/fuse_notify.c fs/fuse_privilege.c fs/fuse_tmpfile.c fs/fuse_xattr.c fs/loop_pace.c fs/mount_dead.c fs/mount_table.c fs/readahead.c \
	fs/view_history.c fs/view_stats.c \
	fs/doc_cache.c fs/fact_cache.c fs/view_access.c fs/view_cache.c fs/view_content.c fs/view_forms.c fs/view_handles.c fs/view_host.c fs/view_names.c fs/view_nodes.c fs/view_runs.c fs/view_runs_file.c fs/view_runs_text.c fs/view_scan.c fs/view_scan_tree.c fs/view_source.c fs/view_tree.c
CLI_SRC = cli/checkpoint.c cli/cli.c cli/cli_attach.c cli/cli_commands.c cli/cli_stream.c cli/cmd_best.c \
	cli/cmd_cat.c cli/cmd_cp.c cli/cmd_df.c cli/cmd_diff.c cli/cmd_export.c cli/cmd_gc.c \
	cli/cmd_import.c cli/cmd_ls.c cli/cmd_mount.c cli/cmd_recompress.c cli/cmd_rm.c cli/cmd_runs.c \
	cli/cmd_show.c cli/cmd_stat.c cli/cmd_umount.c cli/cmd_verify.c cli/cmd_version.c cli/component.c \
	cli/control_client.c cli/control_server.c cli/control_wire.c cli/copy_command.c cli/copy_file.c \
	cli/daemon.c cli/diff_pair.c cli/format.c cli/mount_options.c cli/progress.c cli/runs_list.c \
	cli/runs_csv.c cli/target.c cli/ticker.c cli/tree_host.c cli/tree_place.c cli/tree_store.c cli/treecopy.c
BRIDGE_SRC = torchbridge/bridge_client.c torchbridge/bridge_compare.c torchbridge/bridge_doc.c \
	torchbridge/bridge_dtype.c torchbridge/bridge_layout.c torchbridge/bridge_math.c \
	torchbridge/bridge_runs.c torchbridge/bridge_spawn.c torchbridge/bridge_spec.c \
	torchbridge/bridge_tree.c torchbridge/bridge_view.c torchbridge/compare_data.c \
	torchbridge/compare_list.c torchbridge/json_put.c torchbridge/layout_gather.c torchbridge/layout_stripe.c \
	torchbridge/name_escape.c torchbridge/runs_arena.c torchbridge/runs_avalanche.c torchbridge/runs_avalanche_metrics.c \
	torchbridge/runs_best.c torchbridge/runs_chart.c torchbridge/runs_collect.c \
	torchbridge/runs_components.c torchbridge/runs_cost.c torchbridge/runs_dict.c torchbridge/runs_escape.c \
	torchbridge/runs_fact_io.c torchbridge/runs_facts.c torchbridge/runs_group.c torchbridge/runs_keys.c \
	torchbridge/runs_layouts.c torchbridge/runs_log.c torchbridge/runs_metrics.c \
	torchbridge/runs_module.c torchbridge/runs_number.c torchbridge/runs_page.c \
	torchbridge/runs_report.c torchbridge/runs_same.c torchbridge/runs_shards.c torchbridge/runs_split.c \
	torchbridge/runs_stats.c torchbridge/runs_svg.c torchbridge/runs_tasks.c torchbridge/runs_torch.c torchbridge/runs_value.c \
	torchbridge/runs_walk.c torchbridge/runs_words.c torchbridge/runs_zip.c torchbridge/shards_layout.c \
	torchbridge/summary_tensors.c torchbridge/summary_values.c torchbridge/tree_build.c \
	torchbridge/tree_file.c torchbridge/tree_name.c torchbridge/view_about.c torchbridge/view_facts.c \
	torchbridge/view_globals.c torchbridge/view_header.c torchbridge/view_json.c torchbridge/view_key.c \
	torchbridge/view_lines.c torchbridge/view_part.c torchbridge/view_policy.c torchbridge/view_rows.c \
	torchbridge/view_safetensors.c torchbridge/view_scalar.c torchbridge/view_script.c \
	torchbridge/view_summary.c torchbridge/view_torch.c torchbridge/view_zip.c
MAIN_SRC = cli/main.c
# ckptfs-bridge, a program of its own: `make bridge`.
HELPER_SRC = codec/torch_dtype.c torchbridge/bridge_cage.cc torchbridge/bridge_main.cc torchbridge/bridge_ops.cc

# Unit tests: one program each.  UNIT_LIB is linked into all of them.
UNIT_LIB = tests/unit/crash_check.c tests/unit/crash_model.c tests/unit/crash_tree.c tests/unit/crash_work.c \
	tests/unit/fault_vfs.c tests/unit/power_cut.c
UNIT_SRC = tests/unit/test_bridge_client.c tests/unit/test_bridge_compare.c tests/unit/test_bridge_doc.c \
	tests/unit/test_bridge_dtype.c tests/unit/test_bridge_layout.c tests/unit/test_bridge_math.c \
	tests/unit/test_bridge_part.c tests/unit/test_bridge_runs.c tests/unit/test_bridge_torch.c tests/unit/test_bridge_tree.c \
	tests/unit/test_bridge_view.c tests/unit/test_bridge_walk.c tests/unit/test_chunk_batches.c tests/unit/test_chunks.c tests/unit/test_chunk_name.c tests/unit/test_chunk_plain.c tests/unit/test_codec_print.c tests/unit/test_cut_content.c \
	tests/unit/test_codec_bins.c tests/unit/test_codec_chunk.c tests/unit/test_codec_container.c \
	tests/unit/test_codec_cut.c tests/unit/test_codec_delta.c tests/unit/test_codec_hash.c \
	tests/unit/test_codec_planes.c tests/unit/test_codec_rans.c tests/unit/test_codec_text.c \
	tests/unit/test_control.c tests/unit/test_cost.c tests/unit/test_cut_formats.c \
	tests/unit/test_cut_zip.c tests/unit/test_damage.c tests/unit/test_damage_bits.c tests/unit/test_derived.c tests/unit/test_faults.c tests/unit/test_faults_memory.c \
	tests/unit/test_file.c tests/unit/test_file_late.c tests/unit/test_file_same.c tests/unit/test_fs.c tests/unit/test_fs_names.c tests/unit/test_fs_session.c tests/unit/test_fs_unnamed.c \
	tests/unit/test_fs_views.c tests/unit/test_gc.c tests/unit/test_history.c tests/unit/test_image_linear.c tests/unit/test_loop_pace.c tests/unit/test_meta.c \
	tests/unit/test_page_sums.c tests/unit/test_pickle.c tests/unit/test_pool.c tests/unit/test_powercut.c tests/unit/test_row_pages.c \
	tests/unit/test_recompress.c tests/unit/test_recompress_idle.c tests/unit/test_recompress_near.c tests/unit/test_reserve.c \
	tests/unit/test_safetensors.c tests/unit/test_store.c tests/unit/test_target.c \
	tests/unit/test_torch_file.c tests/unit/test_tree.c tests/unit/test_tree_attrs.c tests/unit/test_tree_crash.c tests/unit/test_tree_memory.c tests/unit/test_twin.c \
	tests/unit/test_version_hold.c tests/unit/test_view_host.c tests/unit/test_zip.c

# libFuzzer targets.
FUZZ_SRC = tests/fuzz/fuzz_codec.c tests/fuzz/fuzz_cut.c tests/fuzz/fuzz_npy.c tests/fuzz/fuzz_pickle.c \
	tests/fuzz/fuzz_runs.c tests/fuzz/fuzz_safetensors.c tests/fuzz/fuzz_view.c tests/fuzz/fuzz_zip.c

# Suites on a real mount, in the order in which they run.
SUITES = tests/10-basic.sh tests/15-golden.sh tests/20-posix.sh tests/25-fsx.sh tests/30-torn.sh \
	tests/40-kill9.sh tests/50-concurrent.sh tests/55-bridge.sh tests/60-cli.sh tests/65-recompress.sh tests/66-views.sh \
	tests/67-inspect.sh tests/68-hostile.sh tests/70-mount.sh tests/80-full.sh

MAN = man/ckptfs-bridge.8 man/ckptfs-format.5 man/ckptfs-views.7 man/ckptfs.1 man/mount.fuse.ckptfs.8

# ---- how it is built -------------------------------------------------------------------------------------------

comma := ,
variant := $(if $(DEV),dev)$(if $(and $(DEV),$(SAN)),-)$(if $(SAN),san-$(subst $(comma),-,$(SAN)))
B := build$(if $(variant),/$(variant))

CC      ?= cc
AR      ?= ar
WARN     = -Wall -Wextra -Wshadow -Wvla -Wmissing-prototypes -Wstrict-prototypes -Wformat=2
OPT      = -O2 -g
CFLAGS  ?= $(OPT)
PKGS     = fuse3 sqlite3 libzstd libcrypto libxxhash jansson
INCLUDES = -I. -Icodec -Istore -Itorchbridge -Ifs -Icli
DEFS     = -D_GNU_SOURCE -DCKPTFS_VERSION='"$(VERSION)"'

# QUIET=1: no line a file.
SAY = @$(if $(QUIET),:,echo)

SAN_FLAGS = $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer $(if $(findstring undefined,$(SAN)),-fno-sanitize-recover=undefined))

# Asked once, when the first recipe wants it.
pkg = $(eval $(1) := $$(shell pkg-config $(2)))$($(1))
PKG_CFLAGS   = $(call pkg,PKG_CFLAGS,--cflags $(PKGS))
PKG_LIBS     = $(call pkg,PKG_LIBS,--libs $(PKGS))
CMOCKA_FLAGS = $(call pkg,CMOCKA_FLAGS,--cflags --libs cmocka)

ALL_CFLAGS = -std=c11 $(CFLAGS) $(WARN) $(if $(DEV),-Werror) $(SAN_FLAGS) $(DEFS) $(INCLUDES) $(PKG_CFLAGS)
ALL_LIBS   = $(PKG_LIBS) -lpthread -lm

LIB_SRC  = $(CODEC_SRC) $(STORE_SRC) $(BRIDGE_SRC) $(FS_SRC) $(CLI_SRC)
LIB_OBJ  = $(LIB_SRC:%.c=$B/%.o)
MAIN_OBJ = $(MAIN_SRC:%.c=$B/%.o)
UNIT_OBJ = $(UNIT_LIB:%.c=$B/%.o)
UNIT_BIN = $(UNIT_SRC:%.c=$B/%)
# Fault loops repeat the same work hundreds of times; what races there can be are met in the other tests.  Codecs and
# cutters have no threads.
UNIT_RUN = $(if $(findstring thread,$(SAN)),$(filter-out %/test_faults %/test_faults_memory %/test_powercut \
	$B/tests/unit/test_codec_% $B/tests/unit/test_cut_%,$(UNIT_BIN)),$(UNIT_BIN))

all: $B/ckptfs

$B/ckptfs: $(MAIN_OBJ) $B/libckptfs.a
	$(SAY) "  link  $@"
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $(MAIN_OBJ) $B/libckptfs.a $(ALL_LIBS)

$B/libckptfs.a: $(LIB_OBJ)
	@rm -f $@
	@$(AR) rcs $@ $(LIB_OBJ)

$B/%.o: %.c | tools
	@mkdir -p $(@D)
	$(SAY) "  cc    $<"
	@$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(UNIT_BIN): $B/%: %.c $(UNIT_OBJ) $B/libckptfs.a | tools
	@mkdir -p $(@D)
	$(SAY) "  test  $<"
	@$(CC) $(ALL_CFLAGS) -MMD -MP -MF $@.d -Itests/unit $(LDFLAGS) -o $@ $< $(UNIT_OBJ) $B/libckptfs.a $(ALL_LIBS) $(CMOCKA_FLAGS)

# These make the Nth allocation of the house fail.
$B/tests/unit/test_faults $B/tests/unit/test_faults_memory: LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=ckpt_log

# A tool of the suites, by itself.
$B/tests/fsx: tests/fsx.c | tools
	@mkdir -p $(@D)
	$(SAY) "  test  $<"
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $<

# One clear line in place of a page of compiler errors when the libraries are not there.
tools:
	@command -v $(firstword $(CC)) >/dev/null && pkg-config --exists $(PKGS) 2>/dev/null || { \
		echo "make: the compiler or a library is missing; \`make deps\` installs what is needed" >&2; exit 1; }

-include $(LIB_OBJ:.o=.d) $(MAIN_OBJ:.o=.d) $(UNIT_OBJ:.o=.d) $(UNIT_BIN:=.d)

# ---- the helper process ----------------------------------------------------------------------------------------

# ckptfs-bridge stands on libtorch: Debian's libtorch-dev, or the one inside a Python's torch, CUDA builds included:
#
#   make bridge TORCH=/path/to/site-packages/torch
#
# Always in build/ and without sanitizers: libtorch has none, and the helper's limit of memory leaves no room for theirs.
TORCH      ?=
CXX        ?= c++
CXXFLAGS   ?= $(OPT)
HELPER      = build/ckptfs-bridge
HELPER_OBJ  = $(HELPER_SRC:%=build/bridge/%.o)
TORCH_HEAD  = $(or $(TORCH:%=%/include),/usr/include)
# libtorch 1.13 asks for C++14 at least, 2.13 for C++20.  Older wheels were built for the old ABI of std::string.
TORCH_ABI   = $(shell grep -aq '_ZN3c105ErrorC[0-9][A-Za-z0-9_]*__cxx11' '$(TORCH)/lib/libc10.so' && echo 1 || echo 0)
HELPER_CXX  = $(CXX) $(CXXFLAGS) -Wall -Wextra -Wvla -Wformat=2 $(if $(DEV),-Werror) $(DEFS) -I. -Icodec -Itorchbridge \
	$(if $(TORCH),-std=c++20 -D_GLIBCXX_USE_CXX11_ABI=$(TORCH_ABI),-std=c++17) \
	-isystem $(TORCH_HEAD)/torch/csrc/api/include $(if $(TORCH),-isystem $(TORCH_HEAD))
HELPER_LIBS = $(if $(TORCH),-L$(TORCH)/lib -Wl$(comma)-rpath$(comma)$(TORCH)/lib) -Wl,--no-as-needed -ltorch_cpu \
	$(if $(wildcard $(TORCH)/lib/libtorch_cuda.so),-ltorch_cuda -lc10_cuda) \
	$(if $(wildcard $(TORCH)/lib/libtorch_xpu.so),-ltorch_xpu -lc10_xpu) -Wl,--as-needed -lc10 -lseccomp

bridge:
	@test -e '$(TORCH_HEAD)/ATen/ATen.h' || { \
		echo "make: no libtorch in $(TORCH_HEAD); \`tests/deps.sh bridge\` installs Debian's, or say TORCH=DIR" >&2; exit 1; }
	@mkdir -p build/bridge
	@echo '$(TORCH)' | cmp -s - build/bridge/torch || echo '$(TORCH)' >build/bridge/torch
	@$(MAKE) --no-print-directory $(HELPER)

$(HELPER): $(HELPER_OBJ) build/bridge/torch
	$(SAY) "  link  $@"
	@$(CXX) $(CXXFLAGS) $(LDFLAGS) -o $@ $(HELPER_OBJ) $(HELPER_LIBS)

build/bridge/%.cc.o: %.cc build/bridge/torch
	@mkdir -p $(@D)
	$(SAY) "  c++   $<"
	@$(HELPER_CXX) -MMD -MP -c -o $@ $<

build/bridge/%.c.o: %.c
	@mkdir -p $(@D)
	$(SAY) "  cc    $<"
	@$(CC) -std=c11 $(CFLAGS) $(WARN) $(DEFS) -I. -MMD -MP -c -o $@ $<

-include $(HELPER_OBJ:.o=.d)

# ---- tests -----------------------------------------------------------------------------------------------------

export CKPTFS = $(CURDIR)/$B/ckptfs
# A test that wants it looks whether it is there.
export CKPTFS_BRIDGE = $(CURDIR)/$(HELPER)

deps:
	@tests/deps.sh build test

demo:
	@tests/deps.sh build mount
	@echo "building ckptfs"
	@$(MAKE) --no-print-directory -j$$(nproc) QUIET=1 all
	@tests/demo.sh

check:
	@tests/deps.sh build test mount fuzz bridge
	@$(MAKE) --no-print-directory -j$$(nproc) all unit-bin fuzz-bin bridge $B/tests/fsx
	@tests/check.sh $(UNIT_BIN) tests/layers.sh tests/fuzz/fuzzers.sh $(SUITES)

unit-bin: $(UNIT_BIN)

unit: $(UNIT_RUN)
	@tests/check.sh $(UNIT_RUN)

suites: all $B/tests/fsx
	@tests/check.sh $(SUITES)

check-clients:
	@tests/deps.sh build mount clients
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@tests/clients/run

# BENCH='--quick --rows stream' and the like: tests/bench/run --help
bench:
	@tests/deps.sh build mount bench
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@tests/bench/run $(BENCH)

# libFuzzer targets, with clang; FUZZ_SECONDS each, from seeds and what earlier runs found in build/fuzz/corpus.
fuzz:
	@tests/deps.sh build fuzz
	@$(MAKE) --no-print-directory -j$$(nproc) fuzz-bin
	@FUZZ_SECONDS=$(or $(FUZZ_SECONDS),60) tests/fuzz/fuzzers.sh

FUZZ_FLAGS = -std=c11 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -Wno-unknown-warning-option
FUZZ_LIB_OBJ = $(patsubst %.c,$B/fuzz/obj/%.o,$(CODEC_SRC) $(BRIDGE_SRC))
FUZZ_BIN = $(FUZZ_SRC:tests/fuzz/%.c=$B/fuzz/%)

# Nothing where clang is missing: tests/fuzz/fuzzers.sh says so.
fuzz-bin: $(if $(shell command -v clang),$(FUZZ_BIN))

$B/fuzz/obj/%.o: %.c | tools
	@mkdir -p $(@D)
	$(SAY) "  fuzz  $<"
	@clang $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link $(DEFS) $(INCLUDES) -MMD -MP -c -o $@ $<

$B/fuzz/libckptfs.a: $(FUZZ_LIB_OBJ)
	@rm -f $@
	@$(AR) rcs $@ $(FUZZ_LIB_OBJ)

$(FUZZ_BIN): $B/fuzz/%: tests/fuzz/%.c $B/fuzz/libckptfs.a
	$(SAY) "  fuzz  $<"
	@clang $(FUZZ_FLAGS) -fsanitize=fuzzer $(DEFS) $(INCLUDES) -o $@ $< $B/fuzz/libckptfs.a -lzstd -lcrypto -lxxhash -ljansson -lpthread -lm

-include $(FUZZ_LIB_OBJ:.o=.d)

lint:
	@tests/deps.sh build test lint
	@tests/lint.sh $(filter %.c,$(LIB_SRC) $(MAIN_SRC)) -- -std=c11 $(DEFS) $(INCLUDES) $(PKG_CFLAGS)

# ---- installing ------------------------------------------------------------------------------------------------

install: all
	install -D -m 755 $B/ckptfs $(DESTDIR)$(BINDIR)/ckptfs
	if [ -x $(HELPER) ]; then install -m 755 $(HELPER) $(DESTDIR)$(BINDIR)/ckptfs-bridge; fi
	install -d $(DESTDIR)$(HELPERDIR)
	ln -sf $(BINDIR)/ckptfs $(DESTDIR)$(HELPERDIR)/mount.fuse.ckptfs
	ln -sf $(BINDIR)/ckptfs $(DESTDIR)$(HELPERDIR)/mount.ckptfs
	for m in $(MAN); do install -D -m 644 $$m $(DESTDIR)$(MANDIR)/man$${m##*.}/$${m##*/} || exit 1; done
	ln -sf mount.fuse.ckptfs.8 $(DESTDIR)$(MANDIR)/man8/mount.ckptfs.8
	install -d $(DESTDIR)$(UNITDIR)
	sed 's|/usr/bin/|$(BINDIR)/|g' cli/ckptfs@.service >$(DESTDIR)$(UNITDIR)/ckptfs@.service

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/ckptfs $(DESTDIR)$(BINDIR)/ckptfs-bridge $(DESTDIR)$(HELPERDIR)/mount.fuse.ckptfs \
		$(DESTDIR)$(HELPERDIR)/mount.ckptfs
	for m in $(MAN); do rm -f $(DESTDIR)$(MANDIR)/man$${m##*.}/$${m##*/}; done
	rm -f $(DESTDIR)$(MANDIR)/man8/mount.ckptfs.8 $(DESTDIR)$(UNITDIR)/ckptfs@.service

clean:
	rm -rf build

help:
	@echo 'make                 build build/ckptfs          make demo           a training run on a mount, killed and resumed'
	@echo 'make check           the whole test suite        make check-clients  real programs on a mount'
	@echo 'make unit | suites   parts of it                 make bench          figures against the local filesystem'
	@echo 'make deps            install what is missing     make lint           formatting, static checks, man pages'
	@echo 'make bridge          build build/ckptfs-bridge, which needs libtorch: Debian'"'"'s, or TORCH=DIR of a Python'"'"'s'
	@echo 'make install | uninstall   PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)                make clean'
	@echo 'DEV=1  warnings are errors     SAN=address,undefined | SAN=thread  sanitizers; each builds beside the others'

.PHONY: all bridge tools deps demo check unit-bin unit suites check-clients bench fuzz fuzz-bin lint install uninstall clean help
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all
