/*
 * bridge_spec.c: the names of views.
 */
#include "bridge_spec.h"

#include <stdio.h>
#include <string.h>

/*
 * Devices as torch.save writes them (torch/serialization.py, c10/core/DeviceType.cpp): most with an index,
 * which is 0 where none is given, three without.  "npu" and "mlu" are the names under which the backends
 * outside torch's tree ("privateuseone") register themselves.
 */
static const struct {
	const char *name;
	bool indexed;
} devices[] = {
	{ "cpu", false },
	{ "mps", false },
	{ "meta", false },
	{ "cuda", true },
	{ "xpu", true },
	{ "hpu", true },
	{ "mtia", true },
	{ "npu", true },
	{ "mlu", true },
	{ "musa", true },
	{ "privateuseone", true },
};

enum { INDEX_MAX = 127 }; /* c10::DeviceIndex is a signed byte */

static const struct {
	const char *name;
	enum bridge_form form;
	int dtype;
} words[] = {
	{ "fp32", BRIDGE_FILE, TORCH_FLOAT32 },
	{ "fp16", BRIDGE_FILE, TORCH_FLOAT16 },
	{ "bf16", BRIDGE_FILE, TORCH_BFLOAT16 },
	{ "summary", BRIDGE_SUMMARY, -1 },
	{ "json", BRIDGE_JSON, -1 },
	{ "tree", BRIDGE_TREE, -1 },
	{ "safetensors", BRIDGE_SAFETENSORS, -1 },
	{ "runs", BRIDGE_RUNS, -1 },
};

static bool is(const char *word, const char *p, size_t len)
{
	return strlen(word) == len && memcmp(word, p, len) == 0;
}

/* "cuda", "cuda:1", "auto". */
static bool take_device(const char *p, size_t len, struct bridge_spec *s)
{
	const char *colon = memchr(p, ':', len);
	size_t name_len = colon != NULL ? (size_t)(colon - p) : len;
	unsigned index = 0;

	if (s->device[0] != '\0')
		return false;
	if (is("auto", p, len)) {
		strcpy(s->device, "auto");
		return true;
	}
	if (colon != NULL) {
		size_t digits = len - name_len - 1;

		if (digits == 0 || digits > 3 || (digits > 1 && colon[1] == '0'))
			return false;
		for (size_t i = 1; i <= digits; i++) {
			if (colon[i] < '0' || colon[i] > '9')
				return false;
			index = index * 10 + (unsigned)(colon[i] - '0');
		}
		if (index > INDEX_MAX)
			return false;
	}
	for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++) {
		if (!is(devices[i].name, p, name_len))
			continue;
		if (devices[i].indexed)
			snprintf(s->device, sizeof s->device, "%s:%u", devices[i].name, index);
		else if (colon == NULL)
			strcpy(s->device, devices[i].name);
		return s->device[0] != '\0';
	}
	return false;
}

static bool take_word(const char *p, size_t len, struct bridge_spec *s)
{
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (!is(words[i].name, p, len))
			continue;
		if (words[i].dtype >= 0) {
			if (s->dtype >= 0)
				return false;
			s->dtype = words[i].dtype;
			return true;
		}
		if (s->form != BRIDGE_FILE)
			return false;
		s->form = words[i].form;
		return true;
	}
	return take_device(p, len, s);
}

bool bridge_spec_parse(const char *name, struct bridge_spec *out)
{
	struct bridge_spec s = { .form = BRIDGE_FILE, .dtype = -1 };

	if (*name++ != '@' || *name == '\0')
		return false;
	for (;;) {
		size_t len = strcspn(name, "+");

		if (!take_word(name, len, &s))
			return false;
		if (name[len] == '\0')
			break;
		name += len + 1;
	}
	/* A form is on no device; those for people and programs show what is there. */
	if (s.form != BRIDGE_FILE && s.device[0] != '\0')
		return false;
	if (s.dtype >= 0 && s.form != BRIDGE_FILE && s.form != BRIDGE_TREE && s.form != BRIDGE_SAFETENSORS)
		return false;
	*out = s;
	return true;
}
