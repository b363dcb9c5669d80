/*
 * runs_page.c: how the report looks: its style, for both colour schemes and any width.  No script, no network,
 * no font of others: the page says so itself, in its Content-Security-Policy.
 */
#include "runs_report.h"

/* clang-format off: a rule a line */
static const char style[] =
		":root{--bg:#f4f6f9;--card:#fff;--ink:#1c2430;--dim:#5f6975;--line:#e2e7ed;--soft:#eef2f7;\n"
		"--blue:#2563c9;--green:#0f7a5f;--red:#b8293f;--greenbg:#e2f4ee;--redbg:#fbe6e9;--bluebg:#"
		"e5eefb}\n"
		"@media(prefers-color-scheme:dark){:root{--bg:#0e1217;--card:#161b22;--ink:#e6eaf0;--dim:#"
		"95a0ae;--line:#2a323c;\n"
		"--soft:#1f2731;--blue:#79aefc;--green:#4fd0ae;--red:#ff8093;--greenbg:#12352d;--redbg:#"
		"3c1a21;--bluebg:#16294a}}\n"
		"*{box-sizing:border-box}\n"
		"body{margin:0;background:var(--bg);color:var(--ink);-webkit-text-size-adjust:100%;\n"
		"font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif}\n"
		"main{max-width:1080px;margin:0 auto;padding:32px 24px 56px}\n"
		"h1{font-size:26px;line-height:1.25;margin:0 0 "
		"6px;letter-spacing:-.01em;overflow-wrap:anywhere}\n"
		"h1 span{color:var(--dim);font-weight:400}\n"
		"h2{font-size:17px;margin:0 0 14px}\n"
		"p{margin:0}\n"
		".sub{color:var(--dim);overflow-wrap:anywhere}\n"
		"h2+.sub{margin:-8px 0 12px}\n"
		"section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:20px "
		"22px;margin-top:18px}\n"
		".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;"
		"margin-top:22px}\n"
		".cards div{background:var(--card);border:1px solid "
		"var(--line);border-radius:12px;padding:14px 16px}\n"
		".cards "
		"b{display:block;font-size:22px;line-height:1.3;font-variant-numeric:tabular-nums;overflow-"
		"wrap:anywhere}\n"
		".cards span,.cards "
		"i{color:var(--dim);font-size:13px;font-style:normal;display:block;overflow-wrap:anywhere}\n"
		".wide{overflow-x:auto;margin:0 -22px;padding:0 22px}\n"
		"table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}"
		"\n"
		"th{text-align:left;color:var(--dim);font-weight:500;font-size:12.5px;white-space:nowrap}\n"
		"th,td{padding:7px 12px 7px 0;border-bottom:1px solid var(--line);vertical-align:top}\n"
		"th:last-child,td:last-child{padding-right:0}\n"
		"tr:last-child td{border-bottom:0}\n"
		"th.r,td.r{text-align:right;white-space:nowrap}\n"
		"td.n{white-space:nowrap;color:var(--dim)}\n"
		"td.k{font:13px/1.6 "
		"ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere;min-width:150px}"
		"\n"
		".tag{display:inline-block;border-radius:99px;padding:0 "
		"9px;font-size:12px;line-height:20px;margin:0 4px 2px 0;\n"
		"background:var(--soft);max-width:100%;overflow:hidden;text-overflow:ellipsis;white-space:"
		"nowrap}\n"
		".tag s{text-decoration:none;color:var(--dim)}\n"
		".best{background:var(--greenbg);color:var(--green)}\n"
		".new{background:var(--bluebg);color:var(--blue)}\n"
		".torn{background:var(--redbg);color:var(--red)}\n"
		".bad{color:var(--red);font-weight:600;white-space:nowrap}\n"
		".bar{display:flex;height:14px;border-radius:7px;overflow:hidden;background:var(--soft);"
		"margin:4px 0 14px;gap:2px}\n"
		".bar i{display:block;min-width:2px}\n"
		".dot{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:8px}\n"
		".f0{background:#2f6fd6}.f1{background:#d9622b}.f2{background:#14866d}.f3{background:#9a4bb0}"
		".f4{background:#c2374b}\n"
		".f5{background:#a8842a}.f6{background:#4a8fb5}.f7{background:#7a6ad8}.f8{background:#8792a0}"
		"\n"
		".note{color:var(--dim);font-size:13px;margin-top:12px}\n"
		".narrow{display:none}\n"
		".charts svg+svg{margin-top:26px}\n"
		"@media(max-width:760px){main{padding:20px 14px 40px}\n"
		"h1{font-size:21px}\n"
		"section{padding:16px;border-radius:10px}\n"
		".wide{margin:0 -16px;padding:0 16px}\n"
		".cards{grid-template-columns:1fr 1fr;gap:10px}\n"
		".cards b{font-size:19px}\n"
		".broad,.opt{display:none}\n"
		".narrow{display:block}\n"
		".exp,.exp tbody,.exp td{display:block}\n"
		".exp tr{display:flex;flex-wrap:wrap;gap:4px 14px;padding:10px 0;border-bottom:1px solid "
		"var(--line)}\n"
		".exp tr:first-child,.exp tr:last-child{border-bottom:0}\n"
		".exp tr:first-child{display:none}\n"
		".exp td{border:0;padding:0}\n"
		".exp td:first-child{font-weight:650;font-size:16px}\n"
		".exp td:last-child{flex-basis:100%}\n"
	".exp .opt{display:none}\n"
		".exp .r:before{content:attr(data-is)' ';color:var(--dim)}}\n";
/* clang-format on */

int runs_page_begin(struct byte_buf *out, const char *title)
{
	int rc = byte_buf_text(out,
			"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
			"<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
			"<meta http-equiv=\"Content-Security-Policy\" "
			"content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n"
			"<meta name=\"color-scheme\" content=\"light dark\">\n"
			"<link rel=\"icon\" href=\"data:,\">\n<title>");

	if (rc == 0)
		rc = runs_escape(out, title);
	if (rc == 0)
		rc = byte_buf_text(out, "</title>\n<style>\n");
	if (rc == 0)
		rc = runs_svg_style(out);
	if (rc == 0)
		rc = byte_buf_text(out, style);
	return rc < 0 ? rc : byte_buf_text(out, "</style></head>\n<body><main>\n");
}

int runs_page_end(struct byte_buf *out)
{
	return byte_buf_text(out, "</main></body></html>\n");
}

int runs_put_bytes(struct byte_buf *out, uint64_t n)
{
	static const char *const unit[] = { "KiB", "MiB", "GiB", "TiB", "PiB" };
	double v = (double)n / 1024;
	size_t i = 0;

	if (n < 1024)
		return byte_buf_format(out, "%llu B", (unsigned long long)n);
	while (v >= 999.5 && i + 1 < sizeof unit / sizeof unit[0]) {
		v /= 1024;
		i++;
	}
	return byte_buf_format(out, v < 9.95 ? "%.1f %s" : "%.0f %s", v, unit[i]);
}
