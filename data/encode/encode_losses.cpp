#include "data/encode/encode_losses.h"

#include <algorithm>
#include <map>
#include <string>

#include "model/io/atomic_file.h"
#include "model/io/counted.h"
#include "model/io/csv.h"
#include "model/io/error.h"
#include "model/io/log.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

/// Logs the first ten of a list.
void log_some(const auto& items, const auto& line) {
  constexpr size_t kMost = 10;
  for (size_t i = 0; i < std::min(items.size(), kMost); ++i) log::info(line(items[i]));
  if (items.size() > kMost) log::info("... and {} more", items.size() - kMost);
}

}  // namespace

std::optional<SkippedVideo> loss_of(const VideoEntry& video,
                                    const ReadOutcome& outcome,
                                    int64_t clips,
                                    int64_t frames) {
  const std::string& problem = outcome.problem;
  if (clips > 0 && problem.empty()) return std::nullopt;
  if (clips > 0) {
    return SkippedVideo{video.file,
                        formatted("{}; {} before it kept", problem, io::counted(clips, "clip"))};
  }
  if (!problem.empty()) return SkippedVideo{video.file, problem};
  return SkippedVideo{video.file,
                      formatted("shorter than the clip: {} of {} frames", outcome.frames, frames)};
}

void log_passed_over(const VideoFolder& folder) {
  log_some(folder.passed_over,
           [](const PassedOver& p) { return formatted("passed over {}: {}", p.file, p.reason); });
  if (!folder.links_outside.empty()) {
    const auto& [link, target] = folder.links_outside.front();
    log::info("{} lead out of the folder and are followed (the first: {} to {})",
              io::counted(folder.links_outside.size(), "link"),
              link,
              target);
  }
  if (folder.other_files.empty()) return;
  std::map<std::string, int64_t> by_extension;
  for (const PassedOver& other : folder.other_files) ++by_extension[other.reason];
  std::string counts;
  for (const auto& [extension, count] : by_extension) {
    counts += formatted("{}{} {}",
                        counts.empty() ? "" : ", ",
                        count,
                        extension.empty() ? "without an extension" : extension);
  }
  log::info("passed over, as no videos by their names: {} (the first: {})",
            counts,
            folder.other_files.front().file);
}

fs::path losses_path(const fs::path& dataset) {
  return fs::path(dataset).replace_extension(".skipped.csv");
}

void list_losses(const fs::path& out, const fs::path& shown, const EncodeReport& report) {
  log_some(report.skipped,
           [](const SkippedVideo& v) { return formatted("skipped {}: {}", v.file, v.reason); });
  log_some(report.no_caption,
           [](const std::string& v) { return formatted("no caption for {}: taken as empty", v); });
  const fs::path list = losses_path(out);
  std::error_code ignored;
  fs::remove(list, ignored);  // of an earlier job
  if (report.skipped.empty() && report.no_caption.empty() && report.passed_over.empty()) return;
  std::string rows = io::csv_row({"file", "reason"});
  for (const PassedOver& other : report.passed_over) {
    rows += io::csv_row({other.file, formatted("passed over: {}", other.reason)});
  }
  for (const SkippedVideo& video : report.skipped) rows += io::csv_row({video.file, video.reason});
  for (const std::string& file : report.no_caption) {
    rows += io::csv_row({file, "no caption: encoded with the empty prompt"});
  }
  io::write_file_atomically(list, rows);
  log::info(
      "{} of {} videos skipped or cut short, {} without a caption, {} passed over: listed in {}",
      report.skipped.size(),
      report.videos,
      report.no_caption.size(),
      report.passed_over.size(),
      losses_path(shown).string());
}

}  // namespace vmla::data
