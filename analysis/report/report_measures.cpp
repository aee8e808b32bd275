#include <algorithm>
#include <charconv>
#include <cmath>
#include <type_traits>

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

// The ground of the clips that the run's configuration makes.
std::optional<data::MosaicConfig> mosaic_of(const RunContents& run) {
  if (run.setting("data.make.scene") != "mosaic") return std::nullopt;
  data::MosaicConfig mosaic;
  bool known = true;
  data::MosaicConfig::fields(mosaic, [&](const char* name, auto& member, const char*) {
    const std::string text = run.setting(formatted("data.make.mosaic.{}", name));
    if constexpr (std::is_same_v<std::remove_reference_t<decltype(member)>, std::string>) {
      member = text;
    } else {
      const auto read = std::from_chars(text.data(), text.data() + text.size(), member);
      known = known && read.ec == std::errc() && read.ptr == text.data() + text.size();
    }
  });
  // Read of a file that anybody may have changed: the ground's side counts for nothing here.
  const bool sane = known && !data::mosaic_problem(mosaic, INT64_MAX, mosaic.cells);
  return sane ? std::optional(mosaic) : std::nullopt;
}

std::string mosaic_table(const RunContents& run) {
  // A row reads the figures under `prefix`; without one it is that of real clips.
  struct Row {
    std::string what, prefix;
  };
  std::vector<Row> rows;
  for (const auto& [what, prefix] : {std::pair{"sampled clips", "mosaic."},
                                     {"cache zeroed", "without_cache.mosaic."},
                                     {"forced to few steps", "few_step.mosaic."},
                                     {"long videos", "long_rollout.mosaic."}}) {
    if (run.figure(std::string(prefix) + "contrast")) rows.push_back({what, prefix});
  }
  rows.push_back({"real clips", ""});
  // "0.981 ± 0.003"
  const auto number = [&run](const std::string& name, const char* real) {
    return [&run, name, real](const Row& row) -> std::string {
      if (row.prefix.empty()) return real;
      const auto value = run.figure(row.prefix + name),
                 error = run.figure(row.prefix + name + "_se");
      if (!value) return "–";
      return error ? formatted("{:.3f} ± {:.3f}", *value, *error) : formatted("{:.3f}", *value);
    };
  };
  const std::vector<Column<Row>> columns = {
      {"The ground that no caption names", [](const Row& row) { return row.what; }},
      {"keep ↑", number("keep", "1")},
      {"keep of the<br>last chunk ↑", number("keep_last", "1")},
      {"of another<br>clip", number("keep_shuffled", "0")},
      {"contrast<br>(1)", number("contrast", "1")},
      {"of the<br>first chunk", number("contrast_first", "1")},
      {"of the<br>last chunk", number("contrast_last", "1")},
      {"energy ↓", number("energy", "0")},
      {"energy of the<br>last window ↓", number("energy_last", "0")}};
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
       .content = sample_gallery(run.samples, kMostVideoBytes, mosaic_of(run))});
}

std::string measure_section(const RunContents& run) {
  std::string content;
  const bool read = run.figure("adherence.colour").has_value();
  if (read) content += adherence_table(run);
  if (run.figure("retention.identification")) content += kGap + retention_table(run);
  const bool ground = run.figure("mosaic.contrast").has_value();
  if (ground) content += kGap + mosaic_table(run);
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
           "told from other frames." +
           (ground ? std::string(" Keep: correlation of the ground in chunk 0 with the ground in "
                                 "later chunks, ± a standard error. Contrast: its standard "
                                 "deviation over a real clip's. Energy: distance of the "
                                 "distribution of token patches from that of real clips.")
                   : std::string()),
       .content = content});
}

}  // namespace vmla::analysis
