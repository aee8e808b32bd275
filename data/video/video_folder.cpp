#include "data/video/video_folder.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "data/video/csv.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

/// By file, relative to the folder, in the order of names; nullopt: no caption so far.
using Captions = std::map<std::string, std::optional<std::string>>;

bool is_video(const fs::path& path) {
  static const std::set<std::string> known = {
      ".mp4", ".avi", ".webm", ".mkv", ".mov", ".m4v", ".y4m"};
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return known.contains(extension) && path.filename().string()[0] != '.';
}

struct CaptionLine {
  std::string file;
  std::string caption;
  std::string where;  // file and line of the captions file, for messages
};

void add(Captions& captions, const CaptionLine& line) {
  const std::string name = fs::path(line.file).lexically_normal().string();
  std::optional<std::string>& place = captions[name];
  if (place) fail_user("{}: {} has a caption already; one line a video", line.where, name);
  place = line.caption;
}

void read_csv_captions(const fs::path& path, Captions& captions) {
  const auto rows = parse_csv(io::read_text_file(path), path.string());
  const auto column = [&](const char* name) {
    if (rows.empty()) {
      fail_user("{}: empty; the first line must be \"file,caption\"", path.string());
    }
    const auto found = std::find(rows[0].begin(), rows[0].end(), name);
    if (found == rows[0].end()) {
      fail_user(
          "{}: no column \"{}\"; the first line must be \"file,caption\"", path.string(), name);
    }
    return static_cast<size_t>(found - rows[0].begin());
  };
  const size_t file = column("file"), caption = column("caption");
  for (size_t i = 1; i < rows.size(); ++i) {
    if (rows[i].size() != rows[0].size()) {
      fail_user("{}: row {} has {} fields, the first has {} (quote captions with commas)",
                path.string(),
                i + 1,
                rows[i].size(),
                rows[0].size());
    }
    add(captions,
        {.file = rows[i][file],
         .caption = rows[i][caption],
         .where = formatted("{}: row {}", path.string(), i + 1)});
  }
}

void read_jsonl_captions(const fs::path& path, Captions& captions) {
  std::istringstream lines(io::read_text_file(path));
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
    const bool valid = object.is_object() && object.contains("file") &&
                       object["file"].is_string() && object.contains("caption") &&
                       object["caption"].is_string();
    const std::string where = formatted("{}: line {}", path.string(), number);
    if (!valid) {
      fail_user("{}: must be an object with the texts \"file\" and \"caption\"", where);
    }
    add(captions, {.file = object["file"], .caption = object["caption"], .where = where});
  }
}

std::string without_final_space(std::string text) {
  text.erase(text.find_last_not_of(" \t\r\n") + 1);
  return text;
}

}  // namespace

std::vector<VideoEntry> list_videos(const fs::path& folder) {
  if (!fs::is_directory(folder)) fail_user("{}: no such folder of videos", folder.string());
  Captions captions;
  if (fs::exists(folder / "captions.csv")) {
    read_csv_captions(folder / "captions.csv", captions);
  } else if (fs::exists(folder / "captions.jsonl")) {
    read_jsonl_captions(folder / "captions.jsonl", captions);
  }
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!is_video(entry.path()) || entry.is_directory()) continue;
    std::optional<std::string>& caption =
        captions[entry.path().lexically_relative(folder).string()];
    const fs::path sidecar = fs::path(entry.path()).replace_extension(".txt");
    if (!caption && fs::exists(sidecar)) caption = without_final_space(io::read_text_file(sidecar));
  }
  if (captions.empty()) {
    fail_user("{}: no videos in this folder (looked for .mp4, .avi, .webm, .mkv, .mov, .m4v, .y4m)",
              folder.string());
  }
  std::vector<VideoEntry> videos;
  for (auto& [file, caption] : captions) videos.push_back({file, std::move(caption)});
  return videos;
}

}  // namespace vmla::data
