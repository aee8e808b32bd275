#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "model/io/mapped_file.h"

struct archive;

namespace vmla::data {

struct TarMember {
  std::string name;  // as the archive spells it: only ever a label, nothing is unpacked
  uint64_t bytes = 0;
  bool is_file = false;  // false: a folder, a link, a device
};

/// The members of a tar file (ustar, pax, GNU), one after the other, as libarchive reads them;
/// gzip and zstd around it are undone on the way. Nobody may write to the file meanwhile.
/// UserError, which begins with the path, for what is no tar, truncated or damaged: a member that
/// claims more bytes than the file has; more bytes than kMostGrowth times the compressed file's;
/// files with holes; a file that ends without tar's end mark, as a writer leaves it that was
/// killed.
class TarReader {
 public:
  /// Latents hardly shrink: a file that grows more than this is made to fill the memory.
  static constexpr uint64_t kMostGrowth = 64, kAlwaysAllowed = uint64_t{4} << 20;

  explicit TarReader(const std::filesystem::path& path);
  ~TarReader();
  TarReader(const TarReader&) = delete;
  TarReader& operator=(const TarReader&) = delete;

  /// The next member; none behind the last.
  std::optional<TarMember> next();
  /// The bytes of the member that next() returned last. To be called once a member.
  std::string content();

 private:
  struct Closer {
    void operator()(archive* opened) const;
  };

  [[noreturn]] void fail(const std::string& what) const;
  std::string complaint() const;
  uint64_t position() const;
  void check_end() const;

  std::string path_;
  io::MappedFile file_;
  std::unique_ptr<archive, Closer> archive_;
  uint64_t most_bytes_ = 0;  // of all that the file unpacks to
  uint64_t data_end_ = 0;    // of the last member
  uint64_t member_bytes_ = 0;
};

}  // namespace vmla::data
