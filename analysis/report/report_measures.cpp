#include <algorithm>
#include <cmath>

#include "analysis/page/short_number.h"
#include "analysis/report/adherence_figures.h"
#include "analysis/report/report_sections.h"
#include "analysis/report/sample_gallery.h"
#include "analysis/report/sampling_passes.h"
#include "data/synth/moving_shapes.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

constexpr int64_t kMostVideoBytes = 24 << 20;  // of one page

std::string adherence_table(const RunContents& run) {
  struct Row {
    std::string what;
    std::optional<double> present, area;
    double colour, direction, shape;
    std::string clips;
  };
  const auto share = [&](const char* what) { return right_share(run, "", what).value_or(NAN); };
  const std::vector<Row> rows = {{.what = "sampled clips",
                                  .present = present_share(run),
                                  .area = run.figure("adherence.area"),
                                  .colour = share("colour"),
                                  .direction = share("direction"),
                                  .shape = share("shape"),
                                  .clips = short_number(run.figure("adherence.clips").value_or(0))},
                                 // Six colours, four directions, three shapes, equally often.
                                 {.what = "chance, if one is there",
                                  .present = {},
                                  .area = {},
                                  .colour = 1.0 / 6,
                                  .direction = 1.0 / 4,
                                  .shape = 1.0 / 3,
                                  .clips = ""}};
  const std::vector<Column<Row>> columns = {
      {"Caption adherence", [](const Row& row) { return row.what; }},
      {"shape there ↑", [](const Row& row) { return percent(row.present); }},
      {"its area /<br>real clips'", [](const Row& row) { return percent(row.area); }},
      {"right colour ↑", [](const Row& row) { return percent(row.colour); }},
      {"right direction ↑", [](const Row& row) { return percent(row.direction); }},
      {"right shape ↑", [](const Row& row) { return percent(row.shape); }},
      {"clips", [](const Row& row) { return row.clips; }}};
  return table_of(columns, rows);
}

std::string retention_table(const RunContents& run) {
  // A row reads the figures under `prefix`; without one it is that of chance.
  struct Row {
    std::string what, prefix;
  };
  std::vector<Row> rows = {{.what = "with the cache", .prefix = "retention."}};
  // The second key is that of older run folders.
  for (const char* prefix : {"without_cache.retention.", "retention_without_cache."}) {
    if (run.figure(std::string(prefix) + "identification"))
      rows.push_back({.what = "cache zeroed", .prefix = prefix});
  }
  rows.push_back({.what = "chance", .prefix = ""});
  const auto share = [&run](const std::string& figure) {
    return [&run, figure](const Row& row) {
      constexpr double kChance = 0.5;
      return percent(row.prefix.empty() ? kChance : run.figure(row.prefix + figure));
    };
  };
  const auto clips = [&run](const Row& row) {
    return row.prefix.empty() ? "" : short_number(run.figure(row.prefix + "clips").value_or(0));
  };
  const std::vector<Column<Row>> columns = {
      {"Retention from chunk to chunk", [](const Row& row) { return row.what; }},
      {"all traits ↑", share("identification")},
      {"size ↑", share("size_identification")},
      {"speed ↑", share("speed_identification")},
      {"texture ↑", share("texture_identification")},
      {"clips", clips}};
  return table_of(columns, rows);
}

std::string motion_table(const RunContents& run) {
  return table({"Motion",
                "amount, levels a frame",
                "smoothness ↑ (1: steady)",
                "jump at chunk borders ↓ (1: none)"},
               {{"sampled clips",
                 short_number(run.figure("motion.amount")),
                 short_number(run.figure("motion.smoothness")),
                 short_number(run.figure("motion.border_jump"))}});
}

}  // namespace

std::string sample_section(const RunContents& run) {
  if (run.samples.empty()) {
    return html_section(
        {.heading = "Sampled clips",
         .content = absence(
             "No clip was sampled (set sample.every and sample.prompts to see some here).")});
  }
  const std::string passes = sampling_passes(run);
  const std::string how = passes.empty() ? "" : ", " + passes;
  // Other captions are not read back, so nothing is promised of them.
  const bool shapes = std::ranges::any_of(run.samples, [](const SampleClip& clip) {
    return data::parse_caption(clip.prompt).has_value();
  });
  const char* ticks =
      " Under a caption stands what the pixels show, read back without a network: ticked where it "
      "is what was asked, and only if a shape is there from the beginning to the end. The coloured "
      "border (left red, right green, top blue, bottom yellow) is part of every training clip: it "
      "tells the model where in the picture it is. No caption asks for it, and it is not read.";
  return html_section(
      {.heading = "Sampled clips",
       .meaning = formatted("Sampled at step {}{}.{}", run.sample_step, how, shapes ? ticks : ""),
       .content = sample_gallery(run.samples, kMostVideoBytes)});
}

std::string measure_section(const RunContents& run) {
  std::string content;
  const bool read = run.figure("adherence.colour").has_value();
  if (read) content += adherence_table(run);
  if (run.figure("retention.identification")) content += kGap + retention_table(run);
  if (run.figure("motion.amount")) content += kGap + motion_table(run);
  if (content.empty()) return "";
  return html_section(
      {.heading = "What the samples show",
       .meaning =
           "On held-out captions; ↑ more is better, ↓ less is better. " +
           (read ? adherence_meaning(run) : std::string()) +
           " Retention: how often a later chunk resembles its own first chunk more than another "
           "clip's of the same caption; only the cache can carry that. Motion's amount is compared "
           "with real clips', more is not better. A jump of 1 means that chunk borders cannot be "
           "told from other frames.",
       .content = content});
}

}  // namespace vmla::analysis
