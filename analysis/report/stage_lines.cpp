#include "analysis/report/stage_lines.h"

#include <algorithm>
#include <set>

#include "analysis/page/html_text.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

// The stage whose generator stage `index` starts from; nothing if it starts from none of these.
std::optional<size_t> parent_of(const std::vector<RunContents>& stages, size_t index) {
  const std::string name = stages[index].setting("init_from.generator.stage");
  for (size_t i = 0; i < stages.size(); ++i) {
    if (i != index && !name.empty() && stages[i].name == name) return i;
  }
  return std::nullopt;
}

}  // namespace

std::vector<std::vector<size_t>> stage_lines(const std::vector<RunContents>& stages) {
  std::set<size_t> parents;
  for (size_t i = 0; i < stages.size(); ++i) {
    if (const auto parent = parent_of(stages, i)) parents.insert(*parent);
  }
  std::vector<std::vector<size_t>> lines;
  for (size_t i = 0; i < stages.size(); ++i) {
    if (parents.contains(i)) continue;
    std::vector<size_t> line = {i};
    // As many steps at most as there are stages: a damaged configuration may name a circle.
    for (auto parent = parent_of(stages, i); parent && line.size() <= stages.size();
         parent = parent_of(stages, *parent)) {
      line.push_back(*parent);
    }
    std::ranges::reverse(line);
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string link_to_stage(const std::string& name) {
  const std::string text = escape_html(name);
  return formatted(R"(<a href="{}/report.html">{}</a>)", text, text);
}

}  // namespace vmla::analysis
