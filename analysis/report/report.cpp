#include "analysis/report/report.h"

#include "analysis/page/html_text.h"
#include "analysis/report/report_pipeline.h"
#include "analysis/report/report_sections.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

std::string stage_title(const RunContents& run) {
  const std::string stage = run.setting("stage");
  return stage.empty() || stage == run.name ? run.name : run.name + " (" + stage + ")";
}

std::string stage_sections(const RunContents& run) {
  std::string out = "<section><h2>Stage " + link_to_stage(run.name) + "</h2><p class=\"meaning\">" +
                    escape_html(run_subtitle(run)) + "</p>" + figure_cards(key_figures(run)) +
                    "</section>\n";
  out += sample_section(run);
  return out + problem_section(run);
}

}  // namespace

void write_run_report(const std::filesystem::path& run_dir) {
  const RunContents run = read_run(run_dir);
  const auto figures = key_figures(run);
  const std::string body = (figures.empty() ? "" : section("Summary", "", figure_cards(figures))) +
                           sample_section(run) + measure_section(run) + drift_section(run) +
                           loss_section(run) + health_section(run) + rank_section(run) +
                           speed_section(run) + config_section(run) + problem_section(run);
  io::write_file_atomically(run_dir / "report.html",
                            html_page(stage_title(run), run_subtitle(run), body));
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
  const std::string name = read_run(run_dir).name;
  io::write_file_atomically(
      run_dir / "report.html",
      html_page("Pipeline " + name,
                formatted("{}{}", stages.size(), stages.size() == 1 ? " stage" : " stages"),
                body));
}

}  // namespace vmla::analysis
