#include "data/import/tar_rows.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "model/io/error.h"
#include "model/io/json_text.h"
#include "model/io/quoted_name.h"
#include "model/io/utf8.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

/// No caption is longer.
constexpr uint64_t kMostCaptionBytes = uint64_t{1} << 20;
constexpr std::string_view kLatent = "latent.pth", kPath = "path.pth", kText = "txt_emb.pth";
constexpr std::string_view kCaption = "txt", kJson = "json";

/// "a/b.latent.pth" as "a/b" and "latent.pth": WebDataset splits at the first dot of the last part.
struct MemberName {
  std::string_view sample, kind;
};

MemberName split(std::string_view name) {
  while (name.starts_with("./")) name.remove_prefix(2);
  const size_t slash = name.rfind('/');
  const size_t dot = name.find('.', slash == std::string_view::npos ? 0 : slash + 1);
  if (dot == std::string_view::npos) return {.sample = name, .kind = {}};
  return {.sample = name.substr(0, dot), .kind = name.substr(dot + 1)};
}

bool leads_out(std::string_view name) {
  if (name.starts_with('/')) return true;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    if (name.substr(begin, end - begin) == "..") return true;
    begin = end + 1;
  }
  return false;
}

/// A caption as a text file has it: without the line break at its end.
std::string caption_of_text(std::string text) {
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  return text;
}

std::optional<std::string> caption_of_json(std::string_view text) {
  const auto document = io::parse_json_or_discard<nlohmann::json>(text);
  if (!document.is_object()) return std::nullopt;
  for (const char* key : {"caption", "prompt"}) {
    const auto found = document.find(key);
    if (found != document.end() && found->is_string()) return found->get<std::string>();
  }
  return std::nullopt;
}

void set_fault(TarRow& row, const std::string& fault) {
  if (row.fault.empty()) row.fault = fault;
}

/// A sample's caption; of both kinds the text file's.
void read_caption(TarRow& row, std::string_view kind, uint64_t bytes, TarReader& reader) {
  if (bytes > kMostCaptionBytes)
    return set_fault(row, formatted("its {} has {} bytes: no caption", kind, bytes));
  if (kind == kCaption) {
    row.caption = caption_of_text(reader.content());
  } else if (!row.caption) {
    row.caption = caption_of_json(reader.content());
  }
}

/// What is wrong with a sample as far as heads and captions say it.
void finish(TarRow& row) {
  if (leads_out(row.name)) set_fault(row, "its name leads out of the archive");
  if (!row.latent && !row.path) set_fault(row, "has neither latent.pth nor path.pth");
  if (!row.caption && !row.text) set_fault(row, "has neither txt_emb.pth nor a caption");
  if (!row.caption) return;
  if (const auto bad = io::first_bad_text_byte(*row.caption))
    set_fault(row, formatted("its caption is no UTF-8, or holds a zero byte, at byte {}", *bad));
}

bool is_shard(const std::string& name) {
  constexpr std::array kEndings = {".tar", ".tar.gz", ".tgz", ".tar.zst"};
  return std::ranges::any_of(kEndings, [&](const char* end) { return name.ends_with(end); });
}

/// The shards of a folder and their names.
std::vector<std::pair<std::string, fs::path>> shards_of(const fs::path& path) {
  std::error_code problem;
  if (!fs::is_directory(path, problem)) return {{path.filename().string(), path}};
  std::vector<std::pair<std::string, fs::path>> found;
  fs::directory_iterator entry(path, problem);
  for (; !problem && entry != fs::directory_iterator(); entry.increment(problem)) {
    const std::string name = entry->path().filename().string();
    if (is_shard(name)) found.emplace_back(name, entry->path());
  }
  if (problem) fail_user("{}: cannot be read: {}", path.string(), problem.message());
  if (found.empty())
    fail_user("{}: holds no .tar, .tar.gz or .tar.zst file; give a shard or a folder of them",
              path.string());
  std::ranges::sort(found);
  return found;
}

/// Where a member of this kind belongs in its sample; null for other kinds.
std::optional<uint64_t>* size_in(TarRow& row, std::string_view kind) {
  if (kind == kLatent) return &row.latent;
  if (kind == kPath) return &row.path;
  return kind == kText ? &row.text : nullptr;
}

std::optional<std::string>* content_in(TarContent& content, std::string_view kind) {
  if (kind == kLatent) return &content.latent;
  if (kind == kPath) return &content.path;
  return kind == kText ? &content.text : nullptr;
}

}  // namespace

TarRows::TarRows(const fs::path& path) {
  for (const auto& [name, file] : shards_of(path)) add(file, name);
  if (rows_.empty())
    fail_user("{}: holds no members NAME.latent.pth or NAME.path.pth, nor any other",
              path.string());
}

void TarRows::add(const fs::path& path, const std::string& name) {
  constexpr size_t kMostKinds = 16;
  TarReader reader(path);
  std::set<std::string, std::less<>> members, samples;
  const size_t before = rows_.size();
  for (size_t index = 0; const auto member = reader.next(); ++index) {
    if (!member->is_file) continue;
    const auto [sample, kind] = split(member->name);
    if (!members.insert(formatted("{}.{}", sample, kind)).second)
      fail_user("{}: two members are called {}", path.string(), io::quoted_name(member->name));
    if (rows_.size() == before || rows_.back().name != sample) {
      if (rows_.size() > before) finish(rows_.back());
      if (!samples.emplace(sample).second) {
        fail_user(
            "{}: the members of {} are not side by side; write the shard in the order of names",
            path.string(),
            io::quoted_name(sample));
      }
      TarRow& row = rows_.emplace_back();
      row.file = name;
      row.name = sample;
      row.number = static_cast<int64_t>(rows_.size() - before) - 1;
      row.shard = shards_.size();
      row.first_member = index;
    }
    TarRow& row = rows_.back();
    row.last_member = index;
    if (auto* const size = size_in(row, kind)) {
      *size = member->bytes;
    } else if (kind == kCaption || kind == kJson) {
      read_caption(row, kind, member->bytes, reader);
    } else if (passed_over_.size() < kMostKinds || passed_over_.contains(std::string(kind))) {
      ++passed_over_[std::string(kind)];
    }
  }
  if (rows_.size() > before) finish(rows_.back());
  shards_.push_back(path);
}

TarContent TarRows::read(const TarRow& row) {
  if (!reader_ || shard_ != row.shard || member_ > row.first_member) {
    reader_ = std::make_unique<TarReader>(shards_.at(row.shard));
    shard_ = row.shard;
    member_ = 0;
  }
  TarContent content;
  for (; member_ <= row.last_member; ++member_) {
    const auto member = reader_->next();
    if (!member) fail_user("{}: became shorter meanwhile", shards_.at(row.shard).string());
    if (member_ < row.first_member || !member->is_file) continue;
    const auto [sample, kind] = split(member->name);
    if (sample != row.name) fail_user("{}: was changed meanwhile", shards_.at(row.shard).string());
    if (auto* const into = content_in(content, kind)) *into = reader_->content();
  }
  return content;
}

}  // namespace vmla::data
