/*
 * runs_escape.c: text of others in XML and HTML.
 */
#include <string.h>

#include "runs_svg.h"

/* Bytes of the UTF-8 sequence at s, or 0. */
static size_t sequence(const uint8_t *s)
{
	size_t n = s[0] < 0x80                   ? 1
		   : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
		   : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
		   : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
						 : 0;

	for (size_t k = 1; k < n; k++)
		if ((s[k] & 0xc0) != 0x80) /* the end of the text, too */
			return 0;
	if (n >= 3 && ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) ||
				      (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90)))
		return 0;
	if (n == 3 && s[0] == 0xef && s[1] == 0xbf && s[2] >= 0xbe) /* U+FFFE and U+FFFF are no XML */
		return 0;
	return n;
}

int runs_escape(struct byte_buf *out, const char *text)
{
	const uint8_t *s = (const uint8_t *)text;
	int rc = 0;

	while (*s != 0 && rc == 0) {
		const char *as = *s == '&'    ? "&amp;"
				 : *s == '<'  ? "&lt;"
				 : *s == '>'  ? "&gt;"
				 : *s == '"'  ? "&quot;"
				 : *s == '\'' ? "&#39;"
					      : NULL;
		size_t n = sequence(s);

		if (n == 0 || (n == 1 && (*s < 0x20 || *s == 0x7f)) ||
				(n == 2 && s[0] == 0xc2 && s[1] < 0xa0)) {
			as = "\xef\xbf\xbd";
			n = n == 0 ? 1 : n;
		}
		rc = as != NULL ? byte_buf_text(out, as) : byte_buf_put(out, s, n);
		s += n;
	}
	return rc;
}
