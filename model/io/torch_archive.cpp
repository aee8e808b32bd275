#include "model/io/torch_archive.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>

#include "model/io/crc32.h"
#include "model/io/error.h"
#include "model/io/quoted_name.h"
#include "model/io/utf8.h"
#include "model/io/zip_file.h"

namespace vmla::io {
namespace {

constexpr std::string_view kPickleName = "data.pkl";
// A state dict is nested a few levels deep.
constexpr int kDeepest = 32;
// Larger storages stay untouched until their tensors are used.
constexpr uint64_t kCheckedBytes = 64 * 1024;

using Entries = std::map<std::string_view, ZipEntry>;

/// Says what a file without a zip archive is, and how one is made of it.
[[noreturn]] void refuse_other_format(std::string_view file, const std::string& file_name) {
  // A pickle of protocol 2 that begins with the number that marks the format before PyTorch 1.6.
  constexpr std::string_view kLegacy = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
  constexpr std::string_view kPointer = "version https://git-lfs";
  if (file.starts_with(kLegacy)) {
    fail_user(
        "{}: written in torch.save's format of before PyTorch 1.6; save it again: "
        "torch.save(torch.load(FILE, weights_only=True), NEW_FILE)",
        file_name);
  }
  if (file.starts_with(kPointer)) {
    fail_user("{}: a Git LFS pointer and not the file that it points to; fetch it: git lfs pull",
              file_name);
  }
  if (file.empty()) fail_user("{}: empty", file_name);
  fail_user("{}: not a file of torch.save: no zip archive begins here", file_name);
}

/// What stands in front of all names of the archive: "archive/". UserError for an archive of
/// another kind.
std::string_view archive_folder(const Entries& entries, const std::string& file_name) {
  std::optional<std::string_view> folder;
  for (const auto& [name, entry] : entries) {
    const size_t slash = name.find('/');
    if (slash == std::string_view::npos || name.substr(slash + 1) != kPickleName) continue;
    if (folder)
      fail_user(
          "{}: two pickles, {}{} and {}, in one archive", file_name, *folder, kPickleName, name);
    folder = name.substr(0, slash + 1);
  }
  if (!folder) fail_user("{}: a zip archive, but not of torch.save: no data.pkl", file_name);
  for (const auto& [name, entry] : entries) {
    if (!name.starts_with(*folder)) continue;
    const std::string_view rest = name.substr(folder->size());
    if (rest == "constants.pkl" || rest.starts_with("code/")) {
      fail_user(
          "{}: a TorchScript archive; save its tensors alone: "
          "torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE)",
          file_name);
    }
  }
  return *folder;
}

/// Compares the pickle and what has at most `most_bytes` with their checksums. Zero says that none
/// was computed (torch.serialization.set_crc32_options(False)).
void check_entries(std::string_view file,
                   const Entries& entries,
                   std::string_view folder,
                   uint64_t most_bytes,
                   const std::string& file_name) {
  const std::string pickle = std::string(folder) + std::string(kPickleName);
  for (const auto& [name, entry] : entries) {
    const uint64_t bytes = entry.end - entry.begin;
    if (entry.crc == 0 || (bytes > most_bytes && name != pickle)) continue;
    const uint32_t crc = crc32(file.data() + entry.begin, bytes);
    if (crc == entry.crc) continue;
    fail_user(
        "{}: damaged: the archive's entry {} has the CRC-32 {:08x}, its directory says {:08x}",
        file_name,
        quoted_name(name),
        crc,
        entry.crc);
  }
}

/// Product plus sum where both fit; none otherwise.
std::optional<uint64_t> product_and_sum(uint64_t a, uint64_t b, uint64_t c) {
  uint64_t result = 0;
  if (__builtin_mul_overflow(a, b, &result) || __builtin_add_overflow(result, c, &result))
    return std::nullopt;
  return result;
}

/// Walks the pickle's dicts and lists, and finds the tensors' bytes.
class Collector {
 public:
  Collector(const Pickle& pickle,
            const Entries& entries,
            std::string_view folder,
            uint64_t pickle_bytes,
            const std::string& file_name)
      : pickle_(pickle),
        entries_(entries),
        folder_(folder),
        file_name_(file_name),
        // A value takes at least a byte. Values in several places make more of them, without end
        // where a dict holds one twice and so on, and names longer than their parts.
        visits_left_(2 * pickle_bytes + 64),
        name_bytes_left_(16 * pickle_bytes + 4096) {}

  TorchTensor collect_one() {
    const PickleValue& root = pickle_.values[pickle_.root];
    if (root.kind == PickleKind::tensor) {
      add(pickle_.tensor(root), "tensor");
      return std::move(out_.tensors.front());
    }
    TorchArchive found = collect();
    if (found.tensors.size() != 1)
      fail_user("{}: holds {} tensors, must hold one", file_name_, found.tensors.size());
    return std::move(found.tensors.front());
  }

  TorchArchive collect() {
    const PickleValue& root = pickle_.values[pickle_.root];
    if (root.kind != PickleKind::dict && root.kind != PickleKind::list) {
      fail_user("{}: holds no dict of tensors; torch.save(model.state_dict(), FILE) makes one",
                file_name_);
    }
    for_each_child(root, [&](const std::string& key, const PickleValue& child) {
      const size_t before = out_.tensors.size();
      visit(child, key, 1);
      if (out_.tensors.size() == before) out_.others.push_back(key);
    });
    std::ranges::sort(out_.others);
    std::ranges::sort(out_.tensors, {}, &TorchTensor::name);
    for (size_t i = 1; i < out_.tensors.size(); ++i) {
      if (out_.tensors[i].name == out_.tensors[i - 1].name) {
        fail_user("{}: two tensors are called {}", file_name_, quoted_name(out_.tensors[i].name));
      }
    }
    return std::move(out_);
  }

 private:
  template <class Visit>
  void for_each_child(const PickleValue& whole, const Visit& visit) {
    const auto& items = whole.items();
    if (whole.kind == PickleKind::list) {
      for (size_t i = 0; i < items.size(); ++i) {
        visit(std::to_string(i), pickle_.values[items[i]]);
      }
      return;
    }
    for (size_t i = 0; i < items.size(); i += 2) {
      const PickleValue& key = pickle_.values[items[i]];
      if (key.kind == PickleKind::text)
        visit(std::string(key.text()), pickle_.values[items[i + 1]]);
      // The state of an optimizer has numbers for keys.
      if (key.kind == PickleKind::integer)
        visit(std::to_string(key.integer()), pickle_.values[items[i + 1]]);
    }
  }

  void visit(const PickleValue& value, const std::string& name, int depth) {
    if (visits_left_-- == 0 || depth > kDeepest) {
      fail_user("{}: {}... is nested without end, or more than {} levels deep",
                file_name_,
                quoted_name(name),
                kDeepest);
    }
    if (value.kind == PickleKind::tensor) return add(pickle_.tensor(value), name);
    if (value.kind != PickleKind::dict && value.kind != PickleKind::list) return;
    for_each_child(value, [&](const std::string& key, const PickleValue& child) {
      if (child.kind != PickleKind::tensor && child.kind != PickleKind::dict &&
          child.kind != PickleKind::list)
        return;
      visit(child, spend(name + "." + key), depth + 1);
    });
  }

  std::string spend(std::string name) {
    if (name.size() > name_bytes_left_) {
      fail_user("{}: {}: the names of its tensors are far longer than the file's pickle",
                file_name_,
                quoted_name(name));
    }
    name_bytes_left_ -= name.size();
    return name;
  }

  [[noreturn]] void refuse(const std::string& name, std::string_view what) const {
    fail_user("{}: tensor {} {}", file_name_, quoted_name(name), what);
  }

  void add(const PickledTensor& tensor, const std::string& name) {
    if (first_bad_text_byte(name)) refuse(name, "has a name that is not UTF-8");
    TorchTensor placed = {.name = name, .type = tensor.type, .shape = {}, .stride = {}};
    const PickledStorage& storage = tensor.storage;
    const std::string path = spend(formatted("{}data/{}", folder_, storage.key));
    const auto found = entries_.find(path);
    if (found == entries_.end()) {
      refuse(name, formatted("lies in {}, which the archive does not have", quoted_name(path)));
    }
    const uint64_t bytes = found->second.end - found->second.begin;
    const uint64_t unit = storage.type.name.empty() ? 1 : storage.type.bytes;
    if (product_and_sum(storage.count, unit, 0) != bytes) {
      refuse(name,
             formatted("lies in a storage of {} elements of {} bytes; {} has {} bytes",
                       storage.count,
                       unit,
                       quoted_name(found->first),
                       bytes));
    }
    check_extent(tensor, name, bytes / tensor.type.bytes);
    placed.shape.assign(tensor.shape.begin(), tensor.shape.end());
    placed.stride.assign(tensor.stride.begin(), tensor.stride.end());
    placed.begin = found->second.begin + tensor.offset * tensor.type.bytes;
    out_.tensors.push_back(std::move(placed));
  }

  /// From the first element to the last it lies in the `count` elements of its storage, and it has
  /// no more elements than that.
  void check_extent(const PickledTensor& tensor, const std::string& name, uint64_t count) const {
    std::optional<uint64_t> last = tensor.offset, elements = 1;
    bool empty = false;
    for (size_t i = 0; i < tensor.shape.size(); ++i) {
      const uint64_t size = tensor.shape[i];
      if (size == 0) {
        empty = true;
        continue;
      }
      if (last) last = product_and_sum(size - 1, tensor.stride[i], *last);
      if (elements) elements = product_and_sum(*elements, size, 0);
    }
    constexpr auto kMost = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    // LibTorch multiplies sizes and strides of empty tensors, too.
    if (!elements || !last || *elements > kMost / 16 || *last > kMost / 16)
      refuse(name, "has an impossible shape");
    if (empty) {
      if (tensor.offset > count) refuse(name, "begins behind its storage");
      return;
    }
    if (*last >= count) {
      refuse(name,
             formatted("reaches to element {} of a storage of {}: a damaged file", *last, count));
    }
    if (*elements > count) {
      refuse(name,
             formatted("repeats the {} elements of its storage (strides of 0); save a contiguous "
                       "copy",
                       count));
    }
  }

  const Pickle& pickle_;
  const Entries& entries_;
  std::string_view folder_;
  const std::string& file_name_;
  uint64_t visits_left_, name_bytes_left_;
  TorchArchive out_;
};

/// Opens the archive and calls `collect` with what finds its tensors.
template <class Collect>
auto parse(std::string_view file,
           const std::string& file_name,
           uint64_t checked_bytes,
           const Collect& collect) {
  if (!begins_as_zip(file)) refuse_other_format(file, file_name);
  Entries entries;
  for (const ZipEntry& entry : parse_zip(file, file_name)) entries.emplace(entry.name, entry);
  const std::string_view folder = archive_folder(entries, file_name);
  for (const auto& [name, entry] : entries) {
    if (entry.method == 0) continue;
    fail_user(
        "{}: the archive's entry {} is compressed (method {}); torch.save stores them as they are: "
        "save the tensors again with it",
        file_name,
        quoted_name(name),
        entry.method);
  }
  check_entries(file, entries, folder, checked_bytes, file_name);
  const auto content = [&](std::string_view name) -> std::optional<std::string_view> {
    const auto found = entries.find(std::string(folder) + std::string(name));
    if (found == entries.end()) return std::nullopt;
    return file.substr(found->second.begin, found->second.end - found->second.begin);
  };
  if (const auto order = content("byteorder"); order && *order != "little") {
    fail_user("{}: numbers in byte order {}; save it again on a little-endian machine",
              file_name,
              quoted_name(*order));
  }
  const std::string_view bytes = *content(kPickleName);
  const Pickle pickle = parse_pickle(bytes, file_name);
  Collector collector(pickle, entries, folder, bytes.size(), file_name);
  return collect(collector);
}

}  // namespace

TorchArchive parse_torch_archive(std::string_view file, const std::string& file_name) {
  return parse(
      file, file_name, kCheckedBytes, [](Collector& collector) { return collector.collect(); });
}

TorchTensor parse_torch_tensor(std::string_view file, const std::string& file_name) {
  return parse(
      file, file_name, file.size(), [](Collector& collector) { return collector.collect_one(); });
}

}  // namespace vmla::io
