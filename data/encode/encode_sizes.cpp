#include "data/encode/encode_sizes.h"

#include <memory>
#include <string>
#include <utility>

#include "data/encode/encode_pass.h"
#include "data/encode/job_fingerprint.h"
#include "data/encode/job_progress.h"
#include "data/store/latent_file.h"
#include "data/video/video_looks.h"
#include "model/io/atomic_file.h"
#include "model/io/counted.h"
#include "model/io/error.h"
#include "model/io/file_lock.h"
#include "model/io/graceful_stop.h"
#include "model/io/log.h"
#include "model/io/quoted_name.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

/// UserError if `out` is something that these files must not take the place of: a file, a folder
/// that is not empty, or, where it may be overwritten, one that holds anything but datasets.
void check_out_folder(const fs::path& out, bool overwrite) {
  std::error_code problem;
  const fs::file_status status = fs::symlink_status(out, problem);
  if (status.type() == fs::file_type::not_found) return;
  if (status.type() != fs::file_type::directory) {
    fail_user("{}: is no folder, and several sizes make a folder of files; name another",
              out.string());
  }
  fs::directory_iterator entry(out, problem);
  for (; !problem && entry != fs::directory_iterator(); entry.increment(problem)) {
    if (!overwrite) fail_user("{}: exists; remove it or pass --overwrite", out.string());
    const std::string name = entry->path().filename().string();
    if (name.ends_with(".h5") || name.ends_with(".skipped.csv")) continue;
    fail_user("{}: holds {}, which is no dataset, so it is not overwritten; name another folder",
              out.string(),
              io::quoted_name(name));
  }
  if (problem) fail_user("{}: cannot be read: {}", out.string(), problem.message());
}

/// What a job for several sizes has not finished: OUT.parts with the files that are complete in
/// `clips`, and the fingerprint of the job in `job`.
class UnfinishedFolder {
 public:
  /// UserError if what lies there is of another job.
  UnfinishedFolder(const fs::path& out, const std::string& fingerprint)
      : folder_(out.string() + ".parts") {
    const fs::path job = folder_ / "job";
    std::error_code problem;
    const bool is_new = !fs::exists(folder_, problem) || fs::is_empty(folder_, problem);
    if (!is_new && (!fs::exists(job, problem) || io::read_text_file(job, 4096) != fingerprint)) {
      fail_user(
          "{}: holds the parts of an unfinished job with other inputs or settings; repeat that "
          "job, or remove the folder",
          folder_.string());
    }
    fs::create_directories(folder_, problem);
    if (problem) fail_user("{}: cannot make the folder: {}", folder_.string(), problem.message());
    if (is_new) io::write_file_atomically(job, fingerprint);
    fs::create_directories(clips(), problem);
    if (problem) fail_user("{}: cannot make the folder: {}", clips().string(), problem.message());
  }

  fs::path clips() const { return folder_ / "clips"; }
  void remove() const { io::remove_folder(folder_); }

 private:
  fs::path folder_;
};

/// The places of the videos that are nearest to each size.
std::vector<std::vector<size_t>> sort_by_size(const EncodeOptions& options,
                                              const std::vector<VideoEntry>& videos) {
  std::vector<fs::path> paths;
  for (const VideoEntry& video : videos) paths.push_back(options.videos / video.file);
  JobProgress progress("look at", "videos", static_cast<long>(videos.size()));
  io::GracefulStop stop([] { return std::string("the same command goes on from what is stored"); });
  const std::vector<VideoLook> looks = look_at_videos(
      paths, options.threads, options.time_limit_seconds, options.decoder, [&](size_t done) {
        progress.update(static_cast<long>(done));
        stop.check();
      });
  std::vector<std::vector<size_t>> sorted(options.sizes.size());
  std::vector<size_t> unknown;
  for (size_t i = 0; i < looks.size(); ++i) {
    const auto& [info, problem] = looks[i];
    if (!problem.empty()) {
      unknown.push_back(i);
      continue;
    }
    const double aspect = info.width * info.pixel_aspect / info.height;
    sorted[nearest_size(options.sizes, aspect)].push_back(i);
  }
  const auto used = std::ranges::find_if(sorted, [](const auto& mine) { return !mine.empty(); });
  std::vector<size_t>& taker = used == sorted.end() ? sorted.front() : *used;
  taker.insert(taker.end(), unknown.begin(), unknown.end());
  std::ranges::sort(taker);
  return sorted;
}

EncodeOptions options_of_size(const EncodeOptions& options, const ClipSize& size) {
  EncodeOptions own = options;
  own.height = size.height;
  own.width = size.width;
  return own;
}

void add_report(EncodeReport& all, EncodeReport one) {
  all.clips += one.clips;
  all.resumed_videos += one.resumed_videos;
  all.skipped.insert(all.skipped.end(), one.skipped.begin(), one.skipped.end());
  all.no_caption.insert(all.no_caption.end(), one.no_caption.begin(), one.no_caption.end());
}

/// One pass, or what an earlier run of the job made of it.
EncodeReport encode_size(const EncodePass& pass,
                         const VideoFolder& folder,
                         const model::VideoCodec& codec,
                         const model::TextEncoder& text) {
  const fs::path& out = pass.options.out;
  std::error_code ignored;
  if (fs::exists(out, ignored)) {
    EncodeReport report;
    report.clips = static_cast<int64_t>(LatentFile(out).clips().size());
    report.resumed_videos = static_cast<int64_t>(pass.mine.size());
    log::info("{}: done by an earlier run of this job", pass.shown.filename().string());
    return report;
  }
  return run_encode_pass(pass, folder, codec, text);
}

}  // namespace

EncodeReport encode_sizes(const EncodeOptions& options,
                          const VideoFolder& given,
                          const model::VideoCodec& codec,
                          const model::TextEncoder& text) {
  // "clips/" names the folder "clips" too.
  const fs::path out = options.out.has_filename() ? options.out : options.out.parent_path();
  const fs::path lock_file = out.string() + ".lock";
  const auto lock = io::FileLock::try_now(lock_file);
  if (!lock) {
    fail_user("{}: {} is writing it; wait for it or stop it",
              out.string(),
              io::FileLock::holder(lock_file));
  }
  check_out_folder(out, options.overwrite);
  JobFingerprint job;
  for (const ClipSize& size : options.sizes) {
    job.line(pass_fingerprint(options_of_size(options, size), given.videos, codec, text));
  }
  const UnfinishedFolder unfinished(out, job.hash());
  const auto sorted = sort_by_size(options, given.videos);

  EncodeReport all;
  all.videos = static_cast<int64_t>(given.videos.size());
  all.passed_over = given.passed_over;
  VideoFolder folder = given;
  for (size_t i = 0; i < sorted.size(); ++i) {
    const std::string name = options.sizes[i].name();
    if (sorted[i].empty()) {
      log::info("{}: no video is nearest to this size, so there is no {}.h5", name, name);
      continue;
    }
    EncodePass pass{.options = options_of_size(options, options.sizes[i]),
                    .shown = out / (name + ".h5"),
                    .mine = sorted[i]};
    pass.options.out = unfinished.clips() / (name + ".h5");
    EncodeReport report = encode_size(pass, folder, codec, text);
    folder.passed_over.clear();  // is listed once
    log::info("{}: {} of {}{}",
              name,
              io::counted(report.clips, "clip"),
              io::counted(sorted[i].size(), "video"),
              report.clips == 0 ? formatted(", so there is no {}.h5", name) : "");
    add_report(all, std::move(report));
  }
  if (all.clips > 0) io::move_folder_into_place(unfinished.clips(), out);
  unfinished.remove();
  return all;
}

}  // namespace vmla::data
