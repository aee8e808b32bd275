#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace vmla::data {

/// A video of a folder and what it is said to show.
struct VideoEntry {
  std::string file;                    // relative to the folder
  std::optional<std::string> caption;  // nullopt: the folder does not say
};

/// Something in a folder of videos that is not read, and why.
struct PassedOver {
  std::string file;  // relative to the folder
  std::string reason;
};

struct VideoFolder {
  std::vector<VideoEntry> videos;       // ordered by name
  std::vector<PassedOver> passed_over;  // what could not be looked at, and captions not read
  /// Links that lead out of the folder, and where to. They are followed: who puts a collection
  /// together from links means what they lead to, and is told how many there are.
  std::vector<std::pair<std::string, std::string>> links_outside;
  /// Files that are no videos by their names, by extension; sidecars and captions do not count.
  std::vector<PassedOver> other_files;
};

/// The videos of `folder`, in subfolders too, links to folders included: .mp4, .webm, .mkv, .avi,
/// .gif, .ts, .y4m and what else kVideoExtensions names. Captions come from the captions file of
/// the folder (data/video/caption_files.h), or NAME.txt beside NAME.mp4. A file that is listed
/// there but missing, or cannot be opened, is an entry all the same: reading it will fail, and say
/// so. UserError for a missing folder, a folder without videos, or an unreadable captions file
/// (with the line).
VideoFolder read_video_folder(const std::filesystem::path& folder);

/// The videos alone.
std::vector<VideoEntry> list_videos(const std::filesystem::path& folder);

}  // namespace vmla::data
