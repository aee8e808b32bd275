#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "model/io/mapped_file.h"

namespace vmla::data {

/// The main table of an LMDB file (`data.mdb`), read from a mapping with every number in it checked
/// before it is followed. liblmdb itself trusts its file: a damaged one crashes it, and it wants a
/// lock file that read-only disks do not take. Nobody may write to the file meanwhile. UserError,
/// which begins with the path, for what is no LMDB file, truncated or damaged, or of a machine with
/// another byte order or word size.
class LmdbFile {
 public:
  explicit LmdbFile(const std::filesystem::path& path);

  using Visit = std::function<void(std::string_view key, std::string_view value)>;
  /// Calls `visit` with each key and value in the order of the keys' bytes. The views are valid as
  /// long as the object. Tables inside the table and keys with several values are passed over.
  void for_each(const Visit& visit) const;

 private:
  struct Walk;

  [[noreturn]] void fail(const char* what) const;
  uint64_t number(uint64_t place, int bytes) const;
  std::string_view page(uint64_t index, uint16_t kind) const;
  void visit_page(uint64_t index, int depth, Walk& walk) const;
  void visit_leaf(std::string_view leaf, uint64_t at, const Visit& visit) const;
  std::string_view overflow_value(uint64_t index, uint64_t bytes) const;

  std::string path_;
  io::MappedFile file_;
  uint64_t page_bytes_ = 0, pages_ = 0;
  uint64_t root_ = 0;
  int depth_ = 0;  // pages from the root to a leaf; 0: the table is empty
};

}  // namespace vmla::data
