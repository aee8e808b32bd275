#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace vmla::data {

/// A video of a folder and what it is said to show.
struct VideoEntry {
  std::string file;                    // relative to the folder
  std::optional<std::string> caption;  // nullopt: the folder does not say
};

/// The videos of `folder` (.mp4, .avi, .webm, .mkv, .mov, .m4v, .y4m, in subfolders too), ordered
/// by name. Captions come from captions.csv (columns file, caption), captions.jsonl (objects with
/// file and caption), or NAME.txt beside NAME.mp4. A file that is listed there but missing is an
/// entry all the same: reading it will fail, and say so. UserError for a missing folder, a folder
/// without videos, or an unreadable captions file (with the line).
std::vector<VideoEntry> list_videos(const std::filesystem::path& folder);

}  // namespace vmla::data
