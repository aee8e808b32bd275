#include "analysis/page/html_text.h"

#include <cstdint>

#include "analysis/page/page_origin.h"
#include "analysis/page/plot_style.h"
#include "model/io/format.h"

namespace vmla::analysis {
namespace {

// The look of everything but the plots. Most colours are variables that plot_style() defines.
constexpr std::string_view kPageStyle = R"css(
  *{box-sizing:border-box}
  :root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--edge:#e3e7ee;--good:#1f8a5b;
      --bad:#c8374f;--shade:#1c233033}
  @media(prefers-color-scheme:dark){:root{--page:#12151b;--card:#1a1f28;--edge:#2b3240;
      --good:#4fd0a0;--bad:#ff7f97;--shade:#0009}}
  body{margin:0;background:var(--page);color:var(--ink);
      font:15px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
  main{max-width:1280px;margin:0 auto;padding:32px 20px 64px}
  header h1{margin:0;font-size:26px;letter-spacing:-.01em}
  header p{margin:4px 0 0;color:var(--muted)}
  section{margin-top:36px}
  h2{font-size:18px;margin:0 0 4px}
  h3{font-size:15px;margin:22px 0 8px}
  .meaning{margin:0 0 14px;color:var(--muted);max-width:78ch}
  .cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(165px,1fr));gap:12px}
  .card,.panel{background:var(--card);border:1px solid var(--edge);border-radius:10px}
  .card{padding:12px 14px}
  .card b{display:block;font-size:21px;font-weight:600;letter-spacing:-.01em}
  .card span{color:var(--muted);font-size:12.5px}
  .plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(440px,100%),1fr));gap:14px}
  .panel{padding:12px}
  .table{overflow-x:auto;background:
      linear-gradient(to right,var(--card) 40%,transparent) left/48px 100% no-repeat local,
      linear-gradient(to left,var(--card) 40%,transparent) right/48px 100% no-repeat local,
      linear-gradient(to right,var(--shade),transparent) left/16px 100% no-repeat scroll,
      linear-gradient(to left,var(--shade),transparent) right/16px 100% no-repeat scroll,
      var(--card)}
  .hint{display:none;position:sticky;left:0;margin:0 0 6px;width:max-content;color:var(--muted);
      font-size:12.5px}
  @media(max-width:760px){.hint{display:block}.wide .plot{width:720px}
      .wide th:first-child,.wide td:first-child{position:sticky;left:-12px;padding-left:12px;
      background:var(--card);max-width:38vw;white-space:normal}}
  table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:13.5px}
  th{color:var(--muted);font-weight:500;font-size:12.5px;vertical-align:bottom}
  th,td{padding:6px 10px;text-align:right;border-bottom:1px solid var(--edge);white-space:nowrap}
  th{white-space:normal}
  .wide th,.wide td{padding:6px 7px}
  th:first-child,td:first-child{text-align:left}
  tbody tr:last-child td{border-bottom:0}
  .clips{display:grid;grid-template-columns:repeat(auto-fill,minmax(172px,1fr));gap:14px}
  .clips figure{margin:0;background:var(--card);border:1px solid var(--edge);border-radius:10px;
      overflow:hidden}
  .clips video{display:block;width:100%;aspect-ratio:var(--ratio,1);image-rendering:pixelated;
      background:#000}
  .clips figcaption{padding:8px 10px 10px;font-size:12.5px;line-height:1.4}
  .ticks{display:block;margin-top:3px;color:var(--muted)}
  .yes{color:var(--good)}
  .no{color:var(--bad)}
  .absent{color:var(--muted);font-style:italic;margin:6px 0}
  pre{margin:0;padding:14px;overflow:auto;
      font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,monospace;max-height:480px}
  details summary{cursor:pointer;color:var(--muted);padding:4px 0}
  a{color:var(--c0)}
  footer{margin-top:48px;color:var(--muted);font-size:12.5px}
  @media print{body{background:#fff}.card,.panel,figure{break-inside:avoid}}
)css";

std::string_view escaped(char c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&#39;";
    default:
      return {};
  }
}

// Shown on narrow screens only, where it stays in place while what is below it moves.
std::string scroll_hint() {
  return R"(<p class="hint">scrolls sideways →</p>)";
}

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const std::string_view replacement = escaped(c);
    if (replacement.empty()) {
      out += c;
    } else {
      out += replacement;
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
    // Three bytes are four digits of six bits; a last group that is shorter is padded with =.
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

std::string html_page(const Page& page) {
  const std::string title = escape_html(page.title);
  return formatted(R"(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">)"
                   R"(<meta name="viewport" content="width=device-width,initial-scale=1">)"
                   R"(<title>{}</title><style>{}</style></head><body><main>)"
                   R"(<header><h1>{}</h1><p>{}</p></header>
{}<footer>Written by {}. This page holds everything it shows; it needs no network.</footer>)"
                   R"(</main></body></html>
)",
                   title,
                   plot_style() + compact_css(kPageStyle),
                   title,
                   escape_html(page.subtitle),
                   page.body,
                   escape_html(page_origin()));
}

std::string html_section(const Section& section) {
  const std::string meaning =
      section.meaning.empty() ? "" : formatted(R"(<p class="meaning">{}</p>)", section.meaning);
  return formatted("<section><h2>{}</h2>{}{}</section>\n",
                   escape_html(section.heading),
                   meaning,
                   section.content);
}

std::string figure_cards(const std::vector<Card>& cards) {
  std::string out = R"(<div class="cards">)";
  for (const Card& card : cards) {
    out += formatted(R"(<div class="card"><b>{}</b><span>{}</span></div>)",
                     escape_html(card.value),
                     escape_html(card.label));
  }
  return out + "</div>";
}

std::string plot_grid(const std::vector<std::string>& plots) {
  std::string out = R"(<div class="plots">)";
  for (const std::string& plot : plots) out += formatted("<div class=\"panel\">{}</div>\n", plot);
  return out + "</div>";
}

std::string table(const std::vector<std::string>& heads,
                  const std::vector<std::vector<std::string>>& rows) {
  // From here on a table may be wider than a telephone.
  constexpr size_t kWide = 4;
  std::string out = heads.size() > kWide ? R"(<div class="panel table wide">)" + scroll_hint()
                                         : R"(<div class="panel table">)";
  out += "<table><thead><tr>";
  for (const std::string& cell : heads) out += formatted("<th>{}</th>", cell);
  out += "</tr></thead><tbody>";
  for (const auto& row : rows) {
    out += "<tr>";
    for (const std::string& cell : row) out += formatted("<td>{}</td>", cell);
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>";
}

std::string wide_panel(const std::string& drawing) {
  return formatted(R"(<div class="panel table wide">{}{}</div>)", scroll_hint(), drawing);
}

std::string absence(const std::string& sentence) {
  return formatted(R"(<p class="absent">{}</p>)", escape_html(sentence));
}

std::string verdict_mark(bool good, std::string_view text) {
  return formatted(R"(<span class="{}">{}{}{}</span>)",
                   good ? "yes" : "no",
                   good ? "✓" : "✗",
                   text.empty() ? "" : " ",
                   text);
}

}  // namespace vmla::analysis
