#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/io/crc32.h"
#include "model/io/error.h"
#include "model/io/torch_archive.h"
#include "model/io/zip_file.h"
#include "model/io/zip_writer.h"
#include "tests/support/temporary_folder.h"

namespace vmla::io {
namespace {

using testing::HasSubstr;

class Zip : public testing::Test {
 protected:
  std::string content() const { return file_bytes(path_); }

  TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / "x.zip";
};

/// An OrderedDict without items, as torch.save writes it.
const std::string kEmptyDict = std::string("\x80\x02}.", 4);

std::string problem_with(const std::string& file) {
  try {
    parse_torch_archive(file, "x.pt");
  } catch (const UserError& problem) {
    return problem.what();
  }
  return {};
}

TEST(Crc32, IsThatOfZipFilesWholeAndInPieces) {
  const std::string text = "123456789";
  EXPECT_EQ(crc32(text.data(), text.size()), 0xCBF43926u);  // the check value of CRC-32/ISO-HDLC
  EXPECT_EQ(crc32(text.data() + 4, 5, crc32(text.data(), 4)), 0xCBF43926u);
  EXPECT_EQ(crc32(text.data(), 0), 0u);
}

TEST_F(Zip, FieldsOf64BitsAreReadBack) {
  // Sizes and offsets from 100 on, and three entries or more, have 64-bit records.
  ZipWriter zip(path_, 64, {.bytes = 100, .entries = 3});
  const std::string contents[] = {std::string(99, 'a'), std::string(100, 'b'), "", "c"};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(zip.add("x/" + std::to_string(i), contents[i]) % 64, 0u);
  }
  zip.close();
  const std::string file = content();
  EXPECT_THAT(file, HasSubstr("PK\x06\x06"));
  EXPECT_THAT(file, HasSubstr("PK\x06\x07"));
  const std::vector<ZipEntry> entries = parse_zip(file, "x.zip");
  ASSERT_EQ(entries.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(entries[i].name, "x/" + std::to_string(i));
    EXPECT_EQ(file.substr(entries[i].begin, entries[i].end - entries[i].begin), contents[i]);
    EXPECT_EQ(entries[i].crc, crc32(contents[i].data(), contents[i].size()));
  }
}

TEST_F(Zip, MoreEntriesThanSixteenBitsCount) {
  constexpr size_t kCount = 65'536;
  ZipWriter zip(path_, 64);
  for (size_t i = 0; i < kCount; ++i) zip.add("x/" + std::to_string(i), "");
  zip.close();
  const std::string file = content();
  EXPECT_EQ(parse_zip(file, "x.zip").size(), kCount);
}

TEST_F(Zip, AnyDamagedByteOfThePickleAndOfSmallEntriesIsFound) {
  ZipWriter zip(path_, 64);
  const uint64_t pickle = zip.add("x/data.pkl", kEmptyDict);
  const uint64_t small = zip.add("x/data/0", std::string(64 * 1024, 'a'));
  const uint64_t large = zip.add("x/data/1", std::string(64 * 1024 + 1, 'a'));
  zip.close();
  const std::string file = content();
  EXPECT_EQ(problem_with(file), "");
  const auto damaged_at = [&](uint64_t at) {
    std::string damaged = file;
    damaged[at] ^= 1;
    return problem_with(damaged);
  };
  for (size_t i = 0; i < kEmptyDict.size(); ++i)
    EXPECT_THAT(damaged_at(pickle + i), HasSubstr("'x/data.pkl' has the CRC-32"));
  EXPECT_THAT(damaged_at(small + 70), HasSubstr("'x/data/0' has the CRC-32"));
  EXPECT_EQ(damaged_at(large + 70), "") << "stays where it is mapped";
}

TEST_F(Zip, FilesWithoutChecksumsAreRead) {
  ZipWriter zip(path_, 64);
  zip.add("x/data.pkl", kEmptyDict);
  zip.close();
  std::string file = content();
  file.replace(file.rfind("PK\x01\x02") + 16, 4, 4, '\0');  // torch.save writes 0 if told to
  EXPECT_EQ(problem_with(file), "");
}

}  // namespace
}  // namespace vmla::io
