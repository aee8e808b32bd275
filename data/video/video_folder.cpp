#include "data/video/video_folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "data/video/caption_files.h"
#include "model/io/error.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

/// Every container that vmla-decode lets FFmpeg read (data/video/decoder/opencv_source.cpp).
const std::set<std::string> kVideoExtensions = {
    ".mp4", ".m4v", ".mov",  ".qt",  ".3gp", ".3g2", ".avi", ".webm", ".mkv", ".y4m", ".gif", ".ts",
    ".mts", ".mpg", ".m2ts", ".vob", ".flv", ".wmv", ".asf", ".ogv",  ".ogg", ".mxf", ".mpeg"};

std::string lower_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension;
}

/// Hidden files are none: what a killed writer or a file manager left (.tmp-HOST+...+a.mp4,
/// ._a.mp4).
bool is_video_name(const fs::path& path) {
  return kVideoExtensions.contains(lower_extension(path)) && path.filename().string()[0] != '.';
}

/// Goes through a folder of videos.
class FolderWalk {
 public:
  explicit FolderWalk(const fs::path& folder) : folder_(folder) {
    std::error_code ignored;  // without it every link counts as one that leads out
    real_folder_ = fs::canonical(folder, ignored);
    CaptionFile file = read_caption_file(folder);
    captions_ = std::move(file.captions);
    captions_path_ = file.path;
    for (const OtherCaptionFile& other : file.others) {
      pass_over(other.path,
                formatted("is not read, as {} is{}",
                          captions_path_.filename().string(),
                          what_it_says_otherwise(other.captions)));
    }
  }

  VideoFolder finish() {
    // In the order of names, whatever order the file system has: which of two links to a folder
    // counts must not change from one machine to the next.
    std::set<fs::path> open = {folder_};
    while (!open.empty()) {
      const fs::path next = *open.begin();
      open.erase(open.begin());
      if (!is_visited(next)) read_folder(next, open);
    }
    note_other_files();
    for (auto& [file, caption] : captions_) found_.videos.push_back({file, std::move(caption)});
    std::ranges::sort(found_.passed_over, {}, &PassedOver::file);
    std::ranges::sort(found_.links_outside);
    return std::move(found_);
  }

 private:
  /// Which of the captions that count a captions file contradicts, or would have added to.
  std::string what_it_says_otherwise(const Captions& others) const {
    int64_t count = 0;
    std::string first;
    for (const auto& [video, caption] : others) {
      const auto counting = captions_.find(video);
      const bool is_same = counting != captions_.end() && counting->second == caption;
      if (!caption || is_same) continue;
      if (count++ == 0) first = video;
    }
    if (count == 0) return "";
    return formatted("; {} {} another caption in it, the first is {}",
                     count,
                     count == 1 ? "video has" : "videos have",
                     first);
  }

  /// Names a NAME.txt that contradicts the captions file. It does not count, so whether it can be
  /// read does not matter.
  void note_second_caption(const fs::path& video, const std::string& caption) {
    try {
      const std::optional<std::string> second = read_sidecar(video);
      if (!second || *second == caption) return;
    } catch (const UserError&) {
      return;
    }
    pass_over(fs::path(video).replace_extension(".txt"),
              formatted("is not read, as {} has another caption of {}",
                        captions_path_.filename().string(),
                        name_of(video)));
  }

  std::string name_of(const fs::path& path) const {
    return path.lexically_relative(folder_).string();
  }
  void pass_over(const fs::path& path, std::string reason) {
    found_.passed_over.push_back({name_of(path), std::move(reason)});
  }

  /// A folder can be reached twice by links, and by a link to a folder above it without end.
  bool is_visited(const fs::path& folder) {
    struct stat status = {};
    if (stat(folder.c_str(), &status) != 0) return false;  // reading it will say why
    const auto [place, is_new] =
        visited_.try_emplace(std::pair(status.st_dev, status.st_ino), name_of(folder));
    if (!is_new) pass_over(folder, formatted("leads to {}, which is read once", place->second));
    return !is_new;
  }

  void read_folder(const fs::path& folder, std::set<fs::path>& open) {
    std::error_code problem;
    fs::directory_iterator entry(folder, problem);
    for (; !problem && entry != fs::directory_iterator(); entry.increment(problem)) {
      read_entry(*entry, open);
    }
    if (!problem) return;
    if (folder == folder_) {
      fail_user("{}: the folder of videos cannot be read: {}", folder.string(), problem.message());
    }
    pass_over(folder, formatted("cannot be read: {}", problem.message()));
  }

  /// Notes a link that leads out of the folder.
  void note_link(const fs::path& link) {
    std::error_code problem;
    const fs::path target = fs::canonical(link, problem);
    if (problem) return;  // reading it will say why
    const fs::path inside = target.lexically_relative(real_folder_);
    if (inside.empty() || *inside.begin() == "..")
      found_.links_outside.emplace_back(name_of(link), target.string());
  }

  void read_entry(const fs::directory_entry& entry, std::set<fs::path>& open) {
    const fs::path& path = entry.path();
    std::error_code problem;
    const bool is_link = entry.is_symlink(problem);
    const fs::file_status status = fs::status(path, problem);  // of what a link leads to
    if (is_link && (fs::is_directory(status) || is_video_name(path))) note_link(path);
    if (fs::is_directory(status)) {
      open.insert(path);
    } else if (is_video_name(path)) {
      std::optional<std::string>& caption = captions_[name_of(path)];
      if (!caption) {
        caption = read_sidecar(path);
      } else {
        note_second_caption(path, *caption);
      }
    } else if (status.type() == fs::file_type::not_found) {
      pass_over(path, "leads to nothing");
    } else if (problem) {
      pass_over(path, problem.message());
    } else if (path != captions_path_) {
      others_.push_back(path);
    }
  }

  /// Of the files that are no videos by their names, those that belong to none either.
  void note_other_files() {
    std::set<std::string> named;  // with a reason already
    for (const PassedOver& other : found_.passed_over) named.insert(other.file);
    for (const fs::path& path : others_) {
      const std::string name = path.filename().string();
      if (path.parent_path() != folder_ && (name == "captions.csv" || name == "captions.jsonl" ||
                                            name == "metadata.csv" || name == "metadata.jsonl")) {
        pass_over(path, "is not read: captions stand in the folder's own captions file");
        continue;
      }
      const bool is_known = is_sidecar(path) || name == "moving_shapes.json" ||
                            captions_.contains(name_of(path)) || named.contains(name_of(path));
      if (!is_known) found_.other_files.push_back({name_of(path), lower_extension(path)});
    }
    std::ranges::sort(found_.other_files, {}, &PassedOver::file);
  }

  bool is_sidecar(const fs::path& path) const {
    if (path.extension() != ".txt") return false;
    // The videos beside it start with its name and a dot, and are neighbours in order.
    const std::string stem = name_of(fs::path(path).replace_extension()) + ".";
    const auto beside = captions_.lower_bound(stem);
    return beside != captions_.end() && beside->first.starts_with(stem);
  }

  fs::path folder_, real_folder_, captions_path_;
  Captions captions_;
  std::map<std::pair<dev_t, ino_t>, std::string> visited_;
  std::vector<fs::path> others_;
  VideoFolder found_;
};

}  // namespace

VideoFolder read_video_folder(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) {
    fail_user("{}: no such folder of videos", folder.string());
  }
  VideoFolder found = FolderWalk(folder).finish();
  if (found.videos.empty()) {
    std::string extensions;
    for (const std::string& extension : kVideoExtensions) extensions += " " + extension;
    const std::string first = found.passed_over.empty()
                                  ? ""
                                  : formatted("; passed over: {}: {}",
                                              found.passed_over.front().file,
                                              found.passed_over.front().reason);
    fail_user("{}: no videos in this folder (looked for{}){}", folder.string(), extensions, first);
  }
  return found;
}

std::vector<VideoEntry> list_videos(const fs::path& folder) {
  return read_video_folder(folder).videos;
}

}  // namespace vmla::data
