#include "analysis/page/short_number.h"
#include "analysis/report/report_sections.h"
#include "analysis/report/sample_gallery.h"
#include "analysis/report/sampling_passes.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

constexpr int64_t kMostVideoBytes = 24 << 20;  // of one page

std::string adherence_table(const RunContents& run) {
  struct Row {
    std::string what;
    double colour, direction, shape;
    std::string clips;
  };
  const auto share = [&](const char* key) { return run.figure(key).value_or(NAN); };
  const std::vector<Row> rows = {
      {.what = "sampled clips",
       .colour = share("adherence.colour"),
       .direction = share("adherence.direction"),
       .shape = share("adherence.shape"),
       .clips = short_number(run.figure("adherence.clips").value_or(0))},
      // Six colours, four directions, three shapes, equally often.
      {.what = "chance", .colour = 1.0 / 6, .direction = 1.0 / 4, .shape = 1.0 / 3, .clips = ""}};
  const std::vector<Column<Row>> columns = {
      {"Caption adherence", [](const Row& row) { return row.what; }},
      {"colour", [](const Row& row) { return percent(row.colour); }},
      {"direction", [](const Row& row) { return percent(row.direction); }},
      {"shape", [](const Row& row) { return percent(row.shape); }},
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
      {"all traits", share("identification")},
      {"size", share("size_identification")},
      {"speed", share("speed_identification")},
      {"texture", share("texture_identification")},
      {"clips", clips}};
  return table_of(columns, rows);
}

std::string motion_table(const RunContents& run) {
  return table({"Motion", "amount", "smoothness", "jump at chunk borders"},
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
  return html_section(
      {.heading = "Sampled clips",
       .meaning = formatted("Sampled at step {}{}. Under a caption stands what the pixels show, "
                            "read back without a network: ticked where it is what was asked.",
                            run.sample_step,
                            how),
       .content = sample_gallery(run.samples, kMostVideoBytes)});
}

std::string measure_section(const RunContents& run) {
  std::string content;
  if (run.figure("adherence.colour")) content += adherence_table(run);
  if (run.figure("retention.identification")) content += kGap + retention_table(run);
  if (run.figure("motion.amount")) content += kGap + motion_table(run);
  if (content.empty()) return "";
  return html_section(
      {.heading = "What the samples show",
       .meaning = "On held-out captions. Adherence: the share of clips that show what the caption "
                  "says. Retention: how often a later chunk resembles its own first chunk more "
                  "than another clip's of the same caption; only the cache can carry that. A jump "
                  "of 1 means that chunk borders cannot be told from other frames.",
       .content = content});
}

}  // namespace vmla::analysis
