#include "data/import/lmdb_rows.h"

#include <algorithm>
#include <charconv>

#include "model/io/error.h"
#include "model/io/quoted_name.h"
#include "model/io/utf8.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kData = "_data";
/// A clip of minutes has far fewer numbers.
constexpr int64_t kMostNumbers = int64_t{1} << 34;

/// The number of "latents_12_data" for the array "latents".
std::optional<int64_t> row_number(std::string_view key, std::string_view array) {
  if (!key.starts_with(array) || !key.ends_with(kData)) return std::nullopt;
  key.remove_prefix(array.size());
  if (key.size() < kData.size() + 2 || key[0] != '_') return std::nullopt;
  key = key.substr(1, key.size() - 1 - kData.size());
  int64_t number = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), number);
  if (error != std::errc() || end != key.data() + key.size() || number < 0) return std::nullopt;
  return number;
}

/// "N 21 16 60 104" or "N 6 21 16 60 104" to [S, F, C, H, W]: the first number counts rows and may
/// be wrong.
std::vector<int64_t> row_shape(std::string_view text, const std::string& path) {
  std::vector<int64_t> sizes;
  int64_t numbers = 1;
  const std::string shown = io::quoted_name(text);
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  while (at != end) {
    int64_t size = 0;
    const auto [next, error] = std::from_chars(at, end, size);
    const bool first = sizes.empty();
    if (error != std::errc() || size < 1 || sizes.size() == 6 ||
        (!first && size > kMostNumbers / numbers)) {
      fail_user("{}: latents_shape is {}, it must be sizes: N [S] F C H W", path, shown);
    }
    if (!first) numbers *= size;
    sizes.push_back(size);
    for (at = next; at != end && (*at == ' ' || *at == '\n');) ++at;
  }
  if (sizes.size() == 5) sizes.insert(sizes.begin() + 1, 1);
  if (sizes.size() != 6)
    fail_user("{}: latents_shape is {}, it must be sizes: N [S] F C H W", path, shown);
  sizes.erase(sizes.begin());
  return sizes;
}

/// The environments of a folder: its own, or those of its folders.
std::vector<std::pair<fs::path, std::string>> environments(const fs::path& path) {
  std::error_code problem;
  if (!fs::is_directory(path, problem)) return {{path, path.filename().string()}};
  if (fs::exists(path / "data.mdb", problem)) return {{path / "data.mdb", "data.mdb"}};
  std::vector<std::pair<fs::path, std::string>> found;
  fs::directory_iterator entry(path, problem);
  for (; !problem && entry != fs::directory_iterator(); entry.increment(problem)) {
    const std::string name = entry->path().filename().string();
    std::error_code none;
    if (fs::exists(entry->path() / "data.mdb", none))
      found.emplace_back(entry->path() / "data.mdb", name + "/data.mdb");
  }
  if (problem) fail_user("{}: cannot be read: {}", path.string(), problem.message());
  if (found.empty())
    fail_user("{}: holds no data.mdb, nor do the folders in it; give an LMDB folder",
              path.string());
  std::ranges::sort(found);
  return found;
}

}  // namespace

LmdbRows::LmdbRows(const fs::path& path) {
  for (const auto& [file, name] : environments(path)) add(file, name);
}

void LmdbRows::add(const fs::path& file, const std::string& name) {
  files_.push_back(std::make_unique<LmdbFile>(file));
  std::map<int64_t, LmdbRow> rows;  // by number: keys are sorted as text, 10 before 2
  std::map<int64_t, std::string_view> captions;
  std::string_view shape;
  files_.back()->for_each([&](std::string_view key, std::string_view value) {
    if (key == "latents_shape") shape = value;
    if (const auto number = row_number(key, "latents"))
      rows[*number] = {.file = name, .number = *number, .latents = value, .caption = {}};
    if (const auto number = row_number(key, "prompts")) captions[*number] = value;
  });
  if (rows.empty() || shape.empty()) {
    fail_user(
        "{}: holds {}; latents of CausVid, Self-Forcing and Causal-Forcing have the keys "
        "latents_shape and latents_0_data, latents_1_data, ...",
        file.string(),
        rows.empty() ? "no latents" : "no latents_shape");
  }
  const std::vector<int64_t> sizes = row_shape(shape, file.string());
  if (!shape_.empty() && sizes != shape_)
    fail_user("{}: its latents have another shape than those of the first folder", file.string());
  shape_ = sizes;
  for (auto& [number, row] : rows) {
    const auto caption = captions.find(number);
    if (caption != captions.end()) row.caption = std::string(caption->second);
    rows_.push_back(std::move(row));
  }
}

}  // namespace vmla::data
