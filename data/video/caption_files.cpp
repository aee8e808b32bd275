#include "data/video/caption_files.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "data/video/text_file.h"
#include "model/io/csv.h"
#include "model/io/error.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

constexpr std::array<const char*, 4> kNames = {
    "captions.csv", "captions.jsonl", "metadata.csv", "metadata.jsonl"};
// In the order in which they count. `file_name` and `text` are what Hugging Face's video folders
// have, `video` and `prompt` what trainers of video models have.
constexpr std::array<const char*, 3> kFileKeys = {"file", "file_name", "video"};
constexpr std::array<const char*, 3> kCaptionKeys = {"caption", "prompt", "text"};

/// A caption of one video, longer than any that a text encoder takes.
constexpr uint64_t kMostSidecarBytes = uint64_t{1} << 20;

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

/// What the folder holds at that name. A file that is there but cannot be read must not pass for
/// one that is missing.
bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::symlink_status(path, ignored).type() != fs::file_type::not_found;
}

/// Puts the captions of one file together.
class CaptionList {
 public:
  explicit CaptionList(const fs::path& folder) : folder_(folder) {
    std::error_code problem;
    base_ = fs::absolute(folder, problem).lexically_normal();
    if (problem) fail_user("{}: {}", folder.string(), problem.message());
  }

  /// `where`: file and line, for messages.
  void add(const std::string& file, const std::string& caption, const std::string& where) {
    check_text(file, where);
    check_text(caption, where);
    const std::string name = name_in_folder(file, where);
    const auto [place, is_new] = captions_.try_emplace(name, std::nullopt);
    const auto first = places_.try_emplace(name, where).first;
    if (!is_new) {
      fail_user("{}: {} is there already, in {}; one line a video", where, name, first->second);
    }
    if (!is_blank(caption)) place->second = caption;
  }

  Captions take() { return std::move(captions_); }

 private:
  /// `file` relative to the folder. Names of a captions file come from anywhere: one that leads out
  /// of the folder would read what the user did not name.
  std::string name_in_folder(const std::string& file, const std::string& where) const {
    if (is_blank(file)) fail_user("{}: names no file", where);
    const fs::path given = (base_ / file).lexically_normal();  // of an absolute path: that path
    fs::path name = given.lexically_relative(base_);
    if (leads_out(name) && fs::path(file).is_absolute()) {
      // The same folder may have several names, by links.
      std::error_code ignored;
      name = fs::weakly_canonical(given, ignored)
                 .lexically_relative(fs::weakly_canonical(base_, ignored));
    }
    if (leads_out(name)) {
      fail_user("{}: {} lies outside of {}; put the video, or a link to it, into the folder",
                where,
                file,
                folder_.string());
    }
    if (name == "." || !name.has_filename()) fail_user("{}: {} is no file", where, file);
    return name.string();
  }

  static bool leads_out(const fs::path& name) { return name.empty() || *name.begin() == ".."; }

  fs::path folder_, base_;  // as given; as an absolute path
  Captions captions_;
  std::map<std::string, std::string> places_;  // file and line of each
};

/// Lower case, without spaces around: spreadsheets are filled in by hand.
std::string column_name(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  std::string name(text.substr(first, text.find_last_not_of(" \t") - first + 1));
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

/// The column of the first of `keys` that is there.
template <size_t N>
size_t column_of(const std::vector<std::string>& header,
                 const std::array<const char*, N>& keys,
                 const fs::path& path) {
  for (const char* key : keys) {
    for (size_t i = 0; i < header.size(); ++i) {
      if (column_name(header[i]) == key) return i;
    }
  }
  fail_user("{}: no column \"{}\" (or \"{}\", \"{}\"); the first line must be \"file,caption\"",
            path.string(),
            keys[0],
            keys[1],
            keys[2]);
}

void read_csv_captions(const fs::path& path, CaptionList& list) {
  const auto rows = io::parse_csv(read_text(path), path.string());
  if (rows.empty()) {
    fail_user("{}: empty; the first line must be \"file,caption\"", path.string());
  }
  const size_t file = column_of(rows[0], kFileKeys, path);
  const size_t caption = column_of(rows[0], kCaptionKeys, path);
  for (size_t i = 1; i < rows.size(); ++i) {
    if (std::all_of(rows[i].begin(), rows[i].end(), is_blank)) continue;
    const std::string where = formatted("{}: row {}", path.string(), i + 1);
    if (rows[i].size() != rows[0].size()) {
      fail_user("{} has {} fields, the first has {} (quote captions with commas)",
                where,
                rows[i].size(),
                rows[0].size());
    }
    list.add(rows[i][file], rows[i][caption], where);
  }
}

/// The text at the first of `keys` that is there; null where there is none, or no text.
template <size_t N>
const std::string* text_at(const nlohmann::json& object, const std::array<const char*, N>& keys) {
  for (const char* key : keys) {
    const auto found = object.find(key);
    if (found != object.end()) return found->get_ptr<const std::string*>();
  }
  return nullptr;
}

void read_jsonl_captions(const fs::path& path, CaptionList& list) {
  const std::string whole = read_text(path);
  // Nested values are no captions; they are not kept, however deep they go.
  const auto keep = [](int depth, nlohmann::json::parse_event_t event, const nlohmann::json&) {
    using Event = nlohmann::json::parse_event_t;
    return depth == 0 || (event != Event::object_start && event != Event::array_start);
  };
  std::string_view rest = whole;
  for (int64_t number = 1; !rest.empty(); ++number) {
    const size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (is_blank(line)) continue;
    const std::string where = formatted("{}: line {}", path.string(), number);
    const nlohmann::json object = nlohmann::json::parse(line, keep, false);
    const std::string* file = object.is_object() ? text_at(object, kFileKeys) : nullptr;
    const std::string* caption = object.is_object() ? text_at(object, kCaptionKeys) : nullptr;
    if (file == nullptr || caption == nullptr) {
      fail_user(
          "{}: must be an object with the texts \"file\" (or \"file_name\", \"video\") and "
          "\"caption\" (or \"prompt\", \"text\")",
          where);
    }
    list.add(*file, *caption, where);
  }
}

Captions read_captions(const fs::path& folder, const fs::path& path) {
  CaptionList list(folder);
  if (path.extension() == ".csv") {
    read_csv_captions(path, list);
  } else {
    read_jsonl_captions(path, list);
  }
  return list.take();
}

/// None where the file is damaged: it does not count.
Captions captions_to_compare(const fs::path& folder, const fs::path& path) {
  try {
    return read_captions(folder, path);
  } catch (const UserError&) {
    return {};
  }
}

}  // namespace

CaptionFile read_caption_file(const fs::path& folder) {
  CaptionFile found;
  for (const char* const name : kNames) {
    const fs::path path = folder / name;
    if (!is_there(path)) continue;
    if (!found.path.empty()) {
      found.others.push_back({path, captions_to_compare(folder, path)});
      continue;
    }
    found.path = path;
    found.captions = read_captions(folder, path);
  }
  return found;
}

std::optional<std::string> read_sidecar(const fs::path& video) {
  const fs::path path = fs::path(video).replace_extension(".txt");
  if (!is_there(path)) return std::nullopt;
  std::string text = read_text(path, kMostSidecarBytes);
  if (is_blank(text)) return std::nullopt;
  text.erase(text.find_last_not_of(" \t\r\n") + 1);
  return text;
}

}  // namespace vmla::data
