#include <algorithm>

#include "analysis/page/html_text.h"
#include "analysis/page/short_number.h"
#include "analysis/report/adherence_figures.h"
#include "analysis/report/report_pipeline.h"
#include "analysis/report/report_sections.h"
#include "analysis/report/sampling_passes.h"
#include "analysis/report/stage_lines.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

// One row: a stage's figures, or those it has when it is forced to few steps.
struct Rung {
  std::string what;    // HTML
  std::string passes;  // "": unknown
  const RunContents* run;
  std::string prefix;  // of the figures in summary.json
};

bool measured_in_few_steps(const RunContents& run) {
  return run.figure("few_step.adherence.colour").has_value();
}

std::vector<Rung> rungs_of(const RunContents& run) {
  std::vector<Rung> rungs = {
      {.what = formatted("{} · {}", link_to_stage(run.name), escape_html(objective_words(run))),
       .passes = sampling_passes(run),
       .run = &run,
       .prefix = ""}};
  if (measured_in_few_steps(run)) {
    rungs.push_back({.what = formatted("{}, forced to few steps", escape_html(run.name)),
                     .passes = forced_passes(run),
                     .run = &run,
                     .prefix = "few_step."});
  }
  return rungs;
}

std::string ladder_table(const std::string& head, const std::vector<Rung>& rungs) {
  const auto share = [](const std::string& key) {
    return [key](const Rung& rung) { return percent(rung.run->figure(rung.prefix + key)); };
  };
  const auto right = [](const std::string& what) {
    return [what](const Rung& rung) { return percent(right_share(*rung.run, rung.prefix, what)); };
  };
  const auto direction_at_the_end = [](const Rung& rung) {
    const std::string key = rung.prefix + "drift.adherence.direction";
    const auto gated = rung.run->figure(key + "_present_last");
    return percent(gated ? gated : rung.run->figure(key + "_last"));
  };
  const auto number = [](const std::string& key) {
    return [key](const Rung& rung) { return short_number(rung.run->figure(rung.prefix + key)); };
  };
  std::vector<Column<Rung>> columns = {
      {head, [](const Rung& rung) { return rung.what; }},
      {"a chunk", [](const Rung& rung) { return rung.passes.empty() ? "–" : rung.passes; }},
      {"shape<br>there ↑",
       [](const Rung& rung) { return percent(present_share(*rung.run, rung.prefix)); }},
      {"colour ↑", right("colour")},
      {"direction ↑", right("direction")},
      {"shape ↑", right("shape")},
      {"reten-<br>tion ↑", share("retention.identification")},
      {"of<br>size ↑", share("retention.size_identification")},
      {"retention,<br>long ↑", share("long_rollout.retention.identification")},
      {"border<br>jump ↓", number("motion.border_jump")},
      {"drift<br>of all ↓", number("drift.shift")},
      {"drift<br>of each ↓", number("drift.score")},
      {"direction,<br>long ↑", direction_at_the_end},
      {"motion,<br>long", share("drift.motion_share_last")}};
  const bool any_ground = std::ranges::any_of(rungs, [](const Rung& rung) {
    return rung.run->figure(rung.prefix + "mosaic.contrast").has_value();
  });
  if (any_ground) {
    columns.insert(columns.end(),
                   {{"ground<br>kept ↑", number("mosaic.keep")},
                    {"contrast<br>(1)", number("mosaic.contrast")},
                    {"energy ↓", number("mosaic.energy")},
                    {"kept,<br>long ↑", number("long_rollout.mosaic.keep_last")},
                    {"energy,<br>long ↓", number("long_rollout.mosaic.energy_last")}});
  }
  return table_of(columns, rungs);
}

}  // namespace

std::string ladder_section(const std::vector<RunContents>& stages) {
  const bool any_in_few_steps = std::ranges::any_of(stages, [](const RunContents& run) {
    return samples_in_few_steps(run) || measured_in_few_steps(run);
  });
  if (!any_in_few_steps) return "";
  std::string content;
  for (const std::vector<size_t>& line : stage_lines(stages)) {
    std::vector<Rung> rungs;
    for (const size_t index : line) {
      for (Rung& rung : rungs_of(stages[index])) rungs.push_back(std::move(rung));
    }
    if (!content.empty()) content += kGap;
    content += ladder_table(escape_html(stages[line.back()].name), rungs);
  }
  return html_section(
      {.heading = "The ladder of distillation",
       .meaning = "Each rung starts from the one above. What few steps cost is the second row of a "
                  "many-step stage; each student should win some of it back. The columns from "
                  "drift to motion are of long videos, first window to last: how far their mean "
                  "moves (in half "
                  "widths of the band of real clips; above 1 is drift), how far each one moves (in "
                  "a real clip's own change), right direction of a shape that is still there, and "
                  "motion at the end beside a real clip's (100 % is right).",
       .content = content});
}

}  // namespace vmla::analysis
