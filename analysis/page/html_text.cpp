#include "analysis/page/html_text.h"

#include <cstdint>

#include "analysis/page/svg_plot.h"

namespace vmla::analysis {
namespace {

// The page's own look; the plots' variables (svg_plot) give it its colours.
constexpr const char* kPageStyle =
    "*{box-sizing:border-box}"
    ":root{color-scheme:light "
    "dark;--page:#f6f7f9;--card:#fff;--edge:#e3e7ee;--good:#1f8a5b;--bad:#c8374f}"
    "@media(prefers-color-scheme:dark){:root{--page:#12151b;--card:#1a1f28;--edge:#2b3240;--good:#"
    "4fd0a0;"
    "--bad:#ff7f97}}"
    "body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 "
    "system-ui,-apple-system,'Segoe UI',"
    "Roboto,sans-serif}"
    "main{max-width:1120px;margin:0 auto;padding:32px 20px 64px}"
    "header h1{margin:0;font-size:26px;letter-spacing:-.01em}header p{margin:4px 0 "
    "0;color:var(--muted)}"
    "section{margin-top:36px}h2{font-size:18px;margin:0 0 4px}h3{font-size:15px;margin:22px 0 8px}"
    ".meaning{margin:0 0 14px;color:var(--muted);max-width:78ch}"
    ".cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(165px,1fr));gap:12px}"
    ".card,.panel{background:var(--card);border:1px solid var(--edge);border-radius:10px}"
    ".card{padding:12px 14px}.card "
    "b{display:block;font-size:21px;font-weight:600;letter-spacing:-.01em}"
    ".card span{color:var(--muted);font-size:12.5px}"
    ".plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(440px,100%),1fr));gap:"
    "14px}"
    ".panel{padding:12px}"
    ".table{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-"
    "nums;font-size:13.5px}"
    "th{color:var(--muted);font-weight:500;font-size:12.5px;vertical-align:bottom}"
    "th,td{padding:6px 10px;text-align:right;border-bottom:1px solid "
    "var(--edge);white-space:nowrap}"
    "th:first-child,td:first-child{text-align:left}tbody tr:last-child td{border-bottom:0}"
    ".clips{display:grid;grid-template-columns:repeat(auto-fill,minmax(172px,1fr));gap:14px}"
    ".clips figure{margin:0;background:var(--card);border:1px solid "
    "var(--edge);border-radius:10px;overflow:hidden}"
    ".clips "
    "video{display:block;width:100%;aspect-ratio:var(--ratio,1);image-rendering:pixelated;"
    "background:#000}"
    ".clips figcaption{padding:8px 10px 10px;font-size:12.5px;line-height:1.4}"
    ".ticks{display:block;margin-top:3px;color:var(--muted)}.yes{color:var(--good)}.no{color:var(--"
    "bad)}"
    ".absent{color:var(--muted);font-style:italic;margin:6px 0}"
    "pre{margin:0;padding:14px;overflow:auto;font:12.5px/1.5 "
    "ui-monospace,SFMono-Regular,Menlo,monospace;"
    "max-height:480px}details summary{cursor:pointer;color:var(--muted);padding:4px 0}"
    "a{color:var(--c0)}footer{margin-top:48px;color:var(--muted);font-size:12.5px}"
    "@media print{body{background:#fff}.card,.panel,figure{break-inside:avoid}}";

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) {
      group = group << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0u);
    }
    for (size_t k = 0; k < 4; ++k) {
      const bool is_padding = i + k > bytes.size();
      out += is_padding ? '=' : kDigits[group >> (18 - 6 * k) & 63];
    }
  }
  return out;
}

std::string html_page(const std::string& title,
                      const std::string& subtitle,
                      const std::string& body) {
  return "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
         "content=\"width=device-width,initial-scale=1\"><title>" +
         escape_html(title) + "</title><style>" + plot_style() + kPageStyle +
         "</style></head><body><main><header><h1>" + escape_html(title) + "</h1><p>" +
         escape_html(subtitle) + "</p></header>\n" + body +
         "<footer>Written by vmla. This page holds everything it shows; it needs no "
         "network.</footer>"
         "</main></body></html>\n";
}

std::string section(const std::string& heading,
                    const std::string& meaning,
                    const std::string& content) {
  return "<section><h2>" + escape_html(heading) + "</h2>" +
         (meaning.empty() ? "" : "<p class=\"meaning\">" + meaning + "</p>") + content +
         "</section>\n";
}

std::string figure_cards(const std::vector<std::pair<std::string, std::string>>& figures) {
  std::string out = "<div class=\"cards\">";
  for (const auto& [label, value] : figures) {
    out += "<div class=\"card\"><b>" + escape_html(value) + "</b><span>" + escape_html(label) +
           "</span></div>";
  }
  return out + "</div>";
}

std::string plot_grid(const std::vector<std::string>& plots) {
  std::string out = "<div class=\"plots\">";
  for (const std::string& plot : plots) out += "<div class=\"panel\">" + plot + "</div>\n";
  return out + "</div>";
}

std::string table(const std::vector<std::string>& head,
                  const std::vector<std::vector<std::string>>& rows) {
  std::string out = "<div class=\"panel table\"><table><thead><tr>";
  for (const std::string& cell : head) out += "<th>" + cell + "</th>";
  out += "</tr></thead><tbody>";
  for (const auto& row : rows) {
    out += "<tr>";
    for (const std::string& cell : row) out += "<td>" + cell + "</td>";
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>";
}

std::string absence(const std::string& sentence) {
  return "<p class=\"absent\">" + escape_html(sentence) + "</p>";
}

}  // namespace vmla::analysis
