#include <algorithm>
#include <cmath>

#include "analysis/page/html_text.h"
#include "analysis/page/short_number.h"
#include "analysis/page/svg_plot.h"
#include "analysis/report/report_sections.h"
#include "analysis/report/sample_gallery.h"
#include "analysis/video/drift_window.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

constexpr int64_t kMostVideoBytes = 24 << 20;  // of one page

// A drift figure's line of the table.
std::vector<std::string> drift_row(const RunContents& run, const std::string& name) {
  const std::string key = "drift.figures." + name + ".";
  const auto number = [&](const char* what) {
    return short_number(run.figure(key + what).value_or(NAN));
  };
  const std::vector<double>* values = run.figures(key + "by_window");
  const bool inside = run.figure(key + "inside").value_or(0) != 0;
  std::string label = name;
  std::replace(label.begin(), label.end(), '_', ' ');
  return {label,
          number("shift"),
          number("score"),
          values != nullptr && !values->empty() ? short_number(values->front()) : "–",
          values != nullptr && !values->empty() ? short_number(values->back()) : "–",
          number("low") + " – " + number("high"),
          inside ? "<span class=\"yes\">✓</span>" : "<span class=\"no\">✗</span>"};
}

// The middle of each window, in seconds of video.
std::vector<double> window_times(const RunContents& run, size_t windows) {
  const double length = run.figure("drift.seconds").value_or(static_cast<double>(windows)) /
                        static_cast<double>(windows);
  std::vector<double> times;
  for (size_t i = 0; i < windows; ++i) times.push_back((static_cast<double>(i) + 0.5) * length);
  return times;
}

PlotOptions drift_options(const std::string& title) {
  PlotOptions options;
  options.title = title;
  options.x_label = "seconds of video";
  options.height = 240;
  return options;
}

std::string adherence_by_window(const RunContents& run) {
  std::vector<Series> lines;
  for (const char* what : {"colour", "direction", "shape"}) {
    const std::vector<double>* shares = run.figures(std::string("drift.adherence.") + what);
    if (shares == nullptr) continue;
    Series line{what,
                window_times(run, shares->size()),
                {},
                series_colour(lines.size()),
                false,
                false,
                true};
    for (const double share : *shares) line.y.push_back(100 * share);
    lines.push_back(std::move(line));
  }
  PlotOptions options = drift_options("Right, by window, %");
  options.y_min = 0;
  options.y_max = 104;
  return line_plot(lines, options);
}

std::string figure_by_window(const RunContents& run,
                             const std::string& name,
                             const std::string& title) {
  const std::string key = "drift.figures." + name + ".";
  const std::vector<double>* values = run.figures(key + "by_window");
  if (values == nullptr) return line_plot({}, drift_options(title));
  const std::vector<double> times = window_times(run, values->size());
  PlotOptions options = drift_options(title);
  const double low = run.figure(key + "low").value_or(NAN);
  const double high = run.figure(key + "high").value_or(NAN);
  options.bands.push_back(
      {"real clips", {times.front(), times.back()}, {low, low}, {high, high}, series_colour(2)});
  return line_plot({{"sampled", times, *values, series_colour(0), false, false, true}}, options);
}

}  // namespace

size_t list_length(const std::string& list) {
  if (list.size() <= 2) return 0;
  return static_cast<size_t>(std::count(list.begin(), list.end(), ',')) + 1;
}

namespace {

/// Steps of the student that the stage trains; 0: it trains none.
size_t student_steps(const RunContents& run) {
  return list_length(
      run.setting("objective." + run.setting("objective.name") + ".denoising_step_list"));
}

}  // namespace

bool samples_in_few_steps(const RunContents& run) {
  const std::string sampler = run.setting("sample.sampler");
  return sampler == "few_step" || (sampler == "auto" && student_steps(run) > 0);
}

std::string sampling_passes(const RunContents& run) {
  if (samples_in_few_steps(run)) {
    const size_t steps = student_steps(run);
    return steps == 0 ? "" : formatted("{}{}", steps, steps == 1 ? " pass" : " passes");
  }
  const std::string steps = run.setting("sample.steps");
  if (steps.empty()) return "";
  const std::string guidance = run.setting("sample.guidance_scale");
  return formatted("{}{} passes", steps, guidance == "1" || guidance == "1.0" ? "" : " × 2");
}

std::string sample_section(const RunContents& run) {
  if (run.samples.empty()) {
    return section(
        "Sampled clips",
        "",
        absence("No clip was sampled (set sample.every and sample.prompts to see some here)."));
  }
  const std::string passes = sampling_passes(run);
  const std::string meaning = formatted(
      "Sampled at step {}{}. Under a caption stands what the pixels show, read back without a "
      "network: ticked where it is what was asked.",
      run.sample_step,
      passes.empty() ? "" : ", " + passes);
  return section("Sampled clips", meaning, sample_gallery(run.samples, kMostVideoBytes));
}

std::string measure_section(const RunContents& run) {
  std::string content;
  if (run.figure("adherence.colour")) {
    content += table({"Caption adherence", "colour", "direction", "shape", "clips"},
                     {{"sampled clips",
                       percent(run.figure("adherence.colour")),
                       percent(run.figure("adherence.direction")),
                       percent(run.figure("adherence.shape")),
                       short_number(run.figure("adherence.clips").value_or(0))},
                      {"chance", percent(1.0 / 6), percent(0.25), percent(1.0 / 3), ""}});
  }
  const auto retention_row = [&](const std::string& label, const std::string& prefix) {
    return std::vector<std::string>{label,
                                    percent(run.figure(prefix + "identification")),
                                    percent(run.figure(prefix + "size_identification")),
                                    percent(run.figure(prefix + "speed_identification")),
                                    percent(run.figure(prefix + "texture_identification")),
                                    short_number(run.figure(prefix + "clips").value_or(0))};
  };
  if (run.figure("retention.identification")) {
    std::vector<std::vector<std::string>> rows = {retention_row("with the cache", "retention.")};
    for (const char* prefix : {"without_cache.retention.", "retention_without_cache."}) {
      if (run.figure(std::string(prefix) + "identification"))
        rows.push_back(retention_row("cache zeroed", prefix));
    }
    rows.push_back({"chance", percent(0.5), percent(0.5), percent(0.5), percent(0.5), ""});
    content +=
        "<h3></h3>" +
        table({"Retention from chunk to chunk", "all traits", "size", "speed", "texture", "clips"},
              rows);
  }
  if (run.figure("motion.amount")) {
    content += "<h3></h3>" + table({"Motion", "amount", "smoothness", "jump at chunk borders"},
                                   {{"sampled clips",
                                     short_number(*run.figure("motion.amount")),
                                     short_number(run.figure("motion.smoothness").value_or(NAN)),
                                     run.figure("motion.border_jump")
                                         ? short_number(*run.figure("motion.border_jump"))
                                         : "–"}});
  }
  if (content.empty()) return "";
  return section(
      "What the samples show",
      "On held-out captions. Adherence: the share of clips that show what the caption says. "
      "Retention: how often a "
      "later chunk resembles its own first chunk more than another clip's of the same caption; "
      "only the cache can "
      "carry that. A jump of 1 means that chunk borders cannot be told from other frames.",
      content);
}

std::string drift_section(const RunContents& run) {
  const auto score = run.figure("drift.score");
  if (!score) return "";
  const auto whole = [&](const char* key) {
    return static_cast<int64_t>(run.figure(std::string("drift.") + key).value_or(0));
  };
  std::vector<std::vector<std::string>> rows;
  for (const std::string_view name : kDriftFigureNames) {
    rows.push_back(drift_row(run, std::string(name)));
  }
  const std::string meaning = formatted(
      "{} videos of {} frames, read in windows of {} beside real clips of the same captions and "
      "length. From the first window to the last their mean moves by {} half widths of the band of "
      "real clips (green) at most: {}. A single video changes by up to {} times what a real clip "
      "changes, which is little more than the error of reading. Motion at the end is {} of real "
      "clips'.",
      whole("clips"),
      whole("frames"),
      whole("window_frames"),
      short_number(run.figure("drift.shift").value_or(NAN)),
      run.figure("drift.within_band").value_or(0) != 0 ? "within it" : "drift",
      short_number(*score),
      percent(run.figure("drift.motion_share_last")));
  return section("Drift over long videos",
                 meaning,
                 plot_grid({adherence_by_window(run),
                            figure_by_window(run, "size", "Size of the shape"),
                            figure_by_window(run, "motion", "Amount of motion"),
                            figure_by_window(run, "brightness", "Brightness")}) +
                     "<h3></h3>" +
                     table({"",
                            "shift of the mean",
                            "change of a video",
                            "first window",
                            "last window",
                            "band of real clips",
                            ""},
                           rows));
}

}  // namespace vmla::analysis
