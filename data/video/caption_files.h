#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

/// The file of captions in a folder of videos. No LibTorch.
namespace vmla::data {

/// By the video's path relative to the folder, in the order of names; nullopt: no caption so far.
using Captions = std::map<std::string, std::optional<std::string>>;

/// A captions file that does not count, because another one does.
struct OtherCaptionFile {
  std::filesystem::path path;
  Captions captions;  // to compare; none where it cannot be read
};

struct CaptionFile {
  std::filesystem::path path;  // empty: the folder has none
  Captions captions;
  std::vector<OtherCaptionFile> others;  // beside it
};

/// Reads the first that is there of captions.csv, captions.jsonl, metadata.csv, metadata.jsonl. The
/// video stands in the column or key `file`, `file_name` or `video`, its caption in `caption`,
/// `prompt` or `text` (the first of these that is there). Rows without any content are left out; a
/// blank caption is none. UserError, with the row or line, for a video that is listed twice (both
/// rows are named) or lies outside of the folder, for what is not UTF-8, and for what has no such
/// columns or keys.
CaptionFile read_caption_file(const std::filesystem::path& folder);

/// The caption in NAME.txt beside the video NAME.mp4; nullopt where there is none, or a blank one.
/// UserError as read_text.
std::optional<std::string> read_sidecar(const std::filesystem::path& video);

}  // namespace vmla::data
