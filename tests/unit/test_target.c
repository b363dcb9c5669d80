/*
 * test_target.c: what operands mean; and the small text of the command: sizes, tables, bars, components.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/component.h"
#include "cli/format.h"
#include "cli/progress.h"
#include "cli/target.h"
#include "fs/mount_table.h"

/* --- mounts --------------------------------------------------------------------------------------- */

static const char mountinfo[] =
		"22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
		"30 22 0:40 / /mnt/ckpt rw,nosuid shared:5 master:2 - fuse.ckptfs /srv/runs.ckptfs "
		"rw,user_id=0\n"
		"31 22 0:41 / /mnt/with\\040blank rw - fuse.ckptfs ckptfs#/srv/b\\134c.ckptfs rw\n"
		"32 30 0:42 / /mnt/ckpt/other rw - tmpfs tmpfs rw\n"
		"33 22 0:43 / /mnt/twice rw - fuse.ckptfs /srv/under.ckptfs rw\n"
		"34 33 0:44 / /mnt/twice rw - fuse.ckptfs /srv/over.ckptfs rw\n"
		"35 22 0:40 /run/a /mnt/bind rw - fuse.ckptfs /srv/runs.ckptfs rw\n"
		"36 22 0:45 / /mnt/covered rw - fuse.ckptfs /srv/runs.ckptfs rw\n"
		"37 22 0:46 / /mnt/covered rw - tmpfs tmpfs rw\n"
		"a line that is none\n";

static void finds_mounts(void **state)
{
	static const struct {
		const char *path, *source, *rest;
	} cases[] = {
		{ "/mnt/ckpt", "/srv/runs.ckptfs", "" },
		{ "/mnt/ckpt/run/003", "/srv/runs.ckptfs", "run/003" },
		{ "/mnt/ckptother", NULL, NULL },
		{ "/mnt/ckpt/other/x", NULL, NULL },
		{ "/mnt/with blank/x", "ckptfs#/srv/b\\c.ckptfs", "x" },
		{ "/mnt/twice/x", "/srv/over.ckptfs", "x" },
		{ "/mnt/bind/b", "/srv/runs.ckptfs", "run/a/b" },
		{ "/mnt/bind", "/srv/runs.ckptfs", "run/a" },
		{ "/mnt/covered/x", NULL, NULL },
		{ "/", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		FILE *f = fmemopen((void *)(uintptr_t)mountinfo, sizeof(mountinfo) - 1, "r");
		struct fs_mount_entry e = { 0 };
		char *rest = NULL;
		int rc = target_find_mount(f, cases[i].path, &e, &rest);

		fclose(f);
		assert_int_equal(rc, cases[i].source != NULL);
		if (rc == 0)
			continue;
		assert_string_equal(e.source, cases[i].source);
		assert_string_equal(rest, cases[i].rest);
		fs_mount_entry_release(&e);
		free(rest);
	}
}

/* --- operands ------------------------------------------------------------------------------------- */

static char dir[64];

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_target.XXXXXX");
	if (mkdtemp(dir) == NULL || chdir(dir) != 0)
		return -1;
	/* A store by its content, a directory that is none, a name with a colon. */
	if (mkdir("byname.ckptfs", 0700) != 0 || mkdir("bycontent", 0700) != 0 || mkdir("plain", 0700) != 0 ||
			mkdir("a:b", 0700) != 0)
		return -1;
	close(open("bycontent/meta.db", O_CREAT | O_WRONLY, 0600));
	close(open("a:b/meta.db", O_CREAT | O_WRONLY, 0600));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink("bycontent/meta.db");
	unlink("a:b/meta.db");
	rmdir("byname.ckptfs");
	rmdir("bycontent");
	rmdir("plain");
	rmdir("a:b");
	return chdir("/") == 0 ? rmdir(dir) : -1;
}

static void parses_operands(void **state)
{
	static const struct {
		const char *text;
		enum target_how how;
		int rc;
		bool in_store;
		const char *store, *path;
	} cases[] = {
		{ "byname.ckptfs:run/003", TARGET_EITHER, 0, true, "byname.ckptfs", "run/003" },
		{ "byname.ckptfs:/run/003/", TARGET_EITHER, 0, true, "byname.ckptfs", "run/003/" },
		{ "byname.ckptfs:", TARGET_EITHER, 0, true, "byname.ckptfs", "" },
		{ "new.ckptfs:x", TARGET_EITHER, 0, true, "new.ckptfs", "x" },
		{ "new.ckptfs/:x", TARGET_EITHER, 0, true, "new.ckptfs/", "x" },
		{ "bycontent:x:y", TARGET_EITHER, 0, true, "bycontent", "x:y" },
		{ "a:b:c", TARGET_EITHER, 0, true, "a:b", "c" },
		{ "plain:x", TARGET_EITHER, 0, false, NULL, "plain:x" },
		{ "plain:x", TARGET_STORE, 0, true, "plain", "x" },
		{ "plain", TARGET_EITHER, 0, false, NULL, "plain" },
		{ "byname.ckptfs", TARGET_EITHER, 0, false, NULL, "byname.ckptfs" },
		{ "byname.ckptfs", TARGET_STORE, 0, true, "byname.ckptfs", "" },
		{ "none.ckptfs", TARGET_STORE, 0, true, "none.ckptfs", "" },
		{ "none", TARGET_STORE, -EINVAL, false, NULL, NULL },
		{ ":x", TARGET_STORE, -EINVAL, false, NULL, NULL },
		{ "", TARGET_STORE, -EINVAL, false, NULL, NULL },
		{ ".ckptfs:x", TARGET_EITHER, 0, false, NULL, ".ckptfs:x" },
	};
	struct cli c = { .cwd_fd = AT_FDCWD };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct target t;
		int rc = target_parse(&c, cases[i].text, cases[i].how, &t);

		assert_int_equal(rc, cases[i].rc);
		if (rc != 0)
			continue;
		assert_int_equal(t.in_store, cases[i].in_store);
		assert_string_equal(t.text, cases[i].text);
		assert_string_equal(t.path, cases[i].path);
		if (t.in_store)
			assert_string_equal(t.store, cases[i].store);
		target_release(&t);
	}
}

static void served_operands_are_looked_up(void **state)
{
	struct target told[] = {
		{ .in_store = true, .text = (char *)(uintptr_t) "m/x", .path = (char *)(uintptr_t) "x" }
	};
	struct cli c = { .served = true, .told = told, .ntold = 1 };
	struct target t;

	(void)state;
	assert_int_equal(target_parse(&c, "m/x", TARGET_STORE, &t), 0);
	assert_true(t.in_store);
	assert_string_equal(t.path, "x");
	target_release(&t);
	assert_int_equal(target_parse(&c, "byname.ckptfs:x", TARGET_STORE, &t), -EINVAL);
}

/* --- text ----------------------------------------------------------------------------------------- */

static void spells_sizes(void **state)
{
	static const struct {
		uint64_t n;
		const char *bytes, *brief;
	} cases[] = {
		{ 0, "0 B", "0" },
		{ 1023, "1023 B", "1023" },
		{ 1024, "1.0 KiB", "1.0K" },
		{ 1025, "1.1 KiB", "1.1K" },
		{ 10239, "10 KiB", "10K" },
		{ 10240, "10 KiB", "10K" },
		{ 10241, "11 KiB", "11K" },
		{ 1048575, "1.0 MiB", "1.0M" },
		{ UINT64_C(5) << 30, "5.0 GiB", "5.0G" },
		{ UINT64_MAX, "16 EiB", "16E" },
	};
	char buf[FORMAT_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_string_equal(format_bytes(cases[i].n, buf), cases[i].bytes);
		assert_string_equal(format_short(cases[i].n, buf), cases[i].brief);
	}
	assert_string_equal(format_ratio(3, 2, buf), "1.50x");
	assert_string_equal(format_ratio(0, 2, buf), "-");
	assert_string_equal(format_seconds(59, buf), "0:59");
	assert_string_equal(format_seconds(3661, buf), "1:01:01");
	assert_string_equal(format_mode(S_IFREG | 04755, buf), "-rwsr-xr-x");
	assert_string_equal(format_mode(S_IFDIR | 01777, buf), "drwxrwxrwt");
}

static void zones_agree_with_libc(void **state)
{
	static const char *const names[] = { "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata",
		"Australia/Lord_Howe" };
	static const int64_t times[] = { -100, 0, 1000000000, 1711846799, 1711846800, 1729994399, 1729994400,
		4000000000 };
	char *before = getenv("TZ");

	(void)state;
	before = before != NULL ? strdup(before) : NULL;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct zone *z;

		setenv("TZ", names[i], 1);
		tzset();
		z = zone_of_process();
		assert_non_null(z);
		for (size_t k = 0; k < sizeof(times) / sizeof(times[0]); k++) {
			time_t t = (time_t)times[k];
			struct tm a, b;

			localtime_r(&t, &a);
			zone_localtime(z, t, &b);
			assert_int_equal(a.tm_hour, b.tm_hour);
			assert_int_equal(a.tm_min, b.tm_min);
			assert_int_equal(a.tm_mday, b.tm_mday);
		}
		free(z);
	}
	if (before != NULL)
		setenv("TZ", before, 1);
	else
		unsetenv("TZ");
	tzset();
	free(before);
}

static char *printed_name(const char *name, size_t len)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	format_name(f, name, len, true);
	fclose(f);
	return text;
}

static void names_cannot_steer_a_terminal(void **state)
{
	static const char *const cases[][2] = {
		{ "plain", "plain" },
		{ "a\033[31mb", "a?[31mb" },
		{ "new\nline", "new?line" },
		{ "\xc3\xa4", "\xc3\xa4" },
		{ "\xff", "?" },
		{ "\xc2\x9b"
		  "x",
				"?x" },
		{ "\xe2\x82", "??" },
		{ "\xed\xa0\x80", "???" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *s = printed_name(cases[i][0], strlen(cases[i][0]));

		assert_string_equal(s, cases[i][1]);
		free(s);
	}
	assert_int_equal(format_name_width("\xe4\xb8\xad", 3), 2);
}

static void json_keeps_names_exact(void **state)
{
	json_t *o = json_object();

	(void)state;
	assert_int_equal(format_json_text(o, "name",
					 "a\xff"
					 "b",
					 3),
			0);
	assert_string_equal(json_string_value(json_object_get(o, "name")), "a\xef\xbf\xbd"
									   "b");
	assert_string_equal(json_string_value(json_object_get(o, "name_hex")), "61ff62");
	assert_int_equal(format_json_text(o, "path", "", 0), 0);
	assert_string_equal(json_string_value(json_object_get(o, "path")), "");
	assert_null(json_object_get(o, "path_hex"));
	json_decref(o);
}

static void bars_fit_their_line(void **state)
{
	struct progress_look l = { .label = "import",
		.bytes = true,
		.total_known = true,
		.total = 4 << 20,
		.done = 1 << 20,
		.rate = 1 << 20 };
	char buf[161];

	(void)state;
	for (l.width = 1; l.width <= 160; l.width++) {
		int n = progress_render(&l, buf, sizeof(buf));

		assert_int_equal(n, (int)strlen(buf));
		assert_true((unsigned)n < l.width || n == 0);
	}
	l.width = 100;
	progress_render(&l, buf, sizeof(buf));
	assert_non_null(strstr(buf, "import  1.0 MiB / 4.0 MiB  25 %"));
	assert_non_null(strstr(buf, "1.0 MiB/s  0:03 left"));
	assert_non_null(strstr(buf, "[==========>"));
	l.total_known = false;
	progress_render(&l, buf, sizeof(buf));
	assert_null(strstr(buf, "left"));
}

static void files_have_components(void **state)
{
	static const struct {
		const char *path;
		enum component is;
	} cases[] = {
		{ "run/003/model.pt", COMPONENT_MODEL },
		{ "best_model.pth", COMPONENT_MODEL },
		{ "optimizer.pt", COMPONENT_OPTIMIZER },
		{ "zero_pp_rank_0_mp_rank_00_optim_states.pt", COMPONENT_OPTIMIZER },
		{ "model_optim_rng.pt", COMPONENT_CHECKPOINT },
		{ "scheduler.pt", COMPONENT_SCHEDULER },
		{ "replay.pt", COMPONENT_REPLAY },
		{ "buffer_003.pt", COMPONENT_REPLAY },
		{ "rng_state_0.pth", COMPONENT_RNG },
		{ "random_states_0.pkl", COMPONENT_RNG },
		{ "strings.txt", COMPONENT_OTHER },
		{ "metrics.json", COMPONENT_METRICS },
		{ "trainer_state.json", COMPONENT_METRICS },
		{ "training_args.bin", COMPONENT_ARGS },
		{ "config.json", COMPONENT_ARGS },
		{ "events.out.tfevents.1.host.2.0", COMPONENT_LOGGERS },
		{ "train.log", COMPONENT_LOGGERS },
		{ "epoch-3.pth", COMPONENT_CHECKPOINT },
		{ "last.ckpt", COMPONENT_CHECKPOINT },
		{ "EPOCH.PTH", COMPONENT_CHECKPOINT },
		{ "shard-00001.safetensors", COMPONENT_MODEL },
		{ "optimizer/readme", COMPONENT_OTHER },
		{ "", COMPONENT_OTHER },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (component_of(cases[i].path) != cases[i].is)
			fail_msg("%s is %s", cases[i].path, component_name(component_of(cases[i].path)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_mounts),
		cmocka_unit_test(parses_operands),
		cmocka_unit_test(served_operands_are_looked_up),
		cmocka_unit_test(spells_sizes),
		cmocka_unit_test(zones_agree_with_libc),
		cmocka_unit_test(names_cannot_steer_a_terminal),
		cmocka_unit_test(json_keeps_names_exact),
		cmocka_unit_test(bars_fit_their_line),
		cmocka_unit_test(files_have_components),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
