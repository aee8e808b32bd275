#include "analysis/report/report.h"

#include "analysis/page/html_text.h"
#include "analysis/report/report_pipeline.h"
#include "analysis/report/report_sections.h"
#include "analysis/report/stage_lines.h"
#include "analysis/runs/run_reading.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

constexpr char kFileName[] = "report.html";

std::string stage_title(const RunContents& run) {
  const std::string stage = run.setting("stage");
  return stage.empty() || stage == run.name ? run.name : formatted("{} ({})", run.name, stage);
}

// A stage on its pipeline's page: what it is, its figures and its videos. Its heading is a link to
// its own page, which holds the rest.
std::string stage_sections(const RunContents& run) {
  return formatted("<section><h2>Stage {}</h2><p class=\"meaning\">{}</p>{}</section>\n",
                   link_to_stage(run.name),
                   escape_html(run_subtitle(run)),
                   figure_cards(key_figures(run))) +
         sample_section(run) + problem_section(run);
}

}  // namespace

void write_run_report(const std::filesystem::path& run_dir) {
  const RunContents run = read_run(run_dir);
  const std::vector<Card> figures = key_figures(run);
  const std::string summary =
      figures.empty() ? "" : html_section({.heading = "Summary", .content = figure_cards(figures)});
  const std::string body = summary + sample_section(run) + measure_section(run) +
                           drift_section(run) + loss_section(run) + health_section(run) +
                           rank_section(run) + speed_section(run) + config_section(run) +
                           problem_section(run);
  io::write_file_atomically(
      run_dir / kFileName,
      html_page({.title = stage_title(run), .subtitle = run_subtitle(run), .body = body}));
}

void write_pipeline_report(const std::filesystem::path& run_dir) {
  std::vector<RunContents> stages;
  for (const std::string& name : stage_names(run_dir)) stages.push_back(read_run(run_dir / name));
  std::string body;
  if (stages.empty()) {
    body = absence("No stage has started yet.");
  } else {
    body = stage_table_section(stages) + ladder_section(stages) + loss_comparison_section(stages) +
           rank_comparison_section(stages);
    for (const RunContents& run : stages) body += stage_sections(run);
  }
  const std::string subtitle =
      stages.size() == 1 ? "1 stage" : formatted("{} stages", stages.size());
  io::write_file_atomically(
      run_dir / kFileName,
      html_page({.title = "Pipeline " + run_name(run_dir), .subtitle = subtitle, .body = body}));
}

}  // namespace vmla::analysis
