#include <gtest/gtest.h>

#include "data/store/hdf5_reader.h"
#include "data/store/hdf5_writer.h"
#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

TEST(Hdf5, WhatWasWrittenIsRead) {
  const TemporaryFolder folder;
  {
    Hdf5Writer file(folder / "a.h5");
    file.write("/group/doubles", Hdf5Array<double>{{2, 3}, {1, 2, 3, 4, 5, 0.1}});
    file.write("/integers", Hdf5Array<int64_t>{{2}, {-7, int64_t{1} << 60}});
    file.write("/none", Hdf5Array<double>{{0, 4}, {}});
    file.write("/one", Hdf5Array<double>{{}, {8}});
    file.write("/texts", {"one", "", "zwei Wörter"});
    file.attribute("text", std::string("ünï"));
    file.fixed_text_attribute("fixed", "ünï");
    file.fixed_text_attribute("empty", "");
    file.attribute("number", 0.1);
    file.attribute("integer", int64_t{-3});
    file.attribute("pair", std::vector<int64_t>{4, 5});
    file.close();
  }
  const Hdf5Reader file(folder / "a.h5", "the test's file");
  EXPECT_EQ(file.doubles("/group/doubles").sizes, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(file.doubles("/group/doubles").values, (std::vector<double>{1, 2, 3, 4, 5, 0.1}));
  EXPECT_EQ(file.integers("/integers").values, (std::vector<int64_t>{-7, int64_t{1} << 60}));
  EXPECT_EQ(file.doubles("/integers").values[0], -7);
  EXPECT_EQ(file.doubles("/none").sizes, (std::vector<int64_t>{0, 4}));
  EXPECT_TRUE(file.doubles("/none").values.empty());
  EXPECT_EQ(file.doubles("/one").values, std::vector<double>{8});
  EXPECT_EQ(file.strings("/texts"), (std::vector<std::string>{"one", "", "zwei Wörter"}));
  EXPECT_EQ(file.text_attribute("text"), "ünï");
  EXPECT_EQ(file.text_attribute("fixed"), "ünï");
  EXPECT_EQ(file.text_attribute("empty"), "");
  EXPECT_EQ(file.number_attribute("number"), 0.1);
  EXPECT_EQ(file.integer_attribute("integer"), -3);
  EXPECT_EQ(file.integer_attributes("pair", 2), (std::vector<int64_t>{4, 5}));
  EXPECT_TRUE(file.has("/group/doubles"));
  EXPECT_FALSE(file.has("/group/other"));
  EXPECT_FALSE(file.has("/other/doubles"));
  EXPECT_TRUE(file.has_attribute("pair"));
  EXPECT_FALSE(file.has_attribute("triple"));
}

TEST(Hdf5, WhatIsWrongIsNamed) {
  const TemporaryFolder folder;
  const auto complaint = [&](const auto& read) {
    return error_of<UserError>([&] { read(Hdf5Reader(folder / "a.h5", "the test's file")); });
  };
  const auto expect = [&](const std::string& end, const auto& read) {
    EXPECT_EQ(complaint(read), formatted("{}: {}", (folder / "a.h5").string(), end));
  };
  expect("no such file", [](const Hdf5Reader&) {});
  write_bytes(folder / "a.h5", "not HDF5");
  EXPECT_NE(complaint([](const Hdf5Reader&) {}).find("a.h5: not a readable HDF5 file"),
            std::string::npos);
  {
    Hdf5Writer file(folder / "a.h5");
    file.write("/numbers", Hdf5Array<double>{{2, 3}, {1, 2, 3, 4, 5, 6}});
    file.write("/texts", {"one", "two"});
    file.attribute("text", std::string("a"));
    file.attribute("pair", std::vector<int64_t>{4, 5});
    file.close();
  }
  expect("/gone: missing; the test's file has it",
         [](const Hdf5Reader& file) { file.doubles("/gone"); });
  expect("/texts: must hold numbers", [](const Hdf5Reader& file) { file.integers("/texts"); });
  expect("/numbers: has 2 dimensions, must have 1",
         [](const Hdf5Reader& file) { file.strings("/numbers"); });
  expect("/numbers: must hold 16-bit integers", [](const Hdf5Reader& file) {
    file.expect_type(file.open("/numbers", 2), H5T_INTEGER, 2, "16-bit integers");
  });
  expect("gone: this attribute is missing; the test's file has it",
         [](const Hdf5Reader& file) { file.text_attribute("gone"); });
  expect("text: attribute must hold 1 number",
         [](const Hdf5Reader& file) { file.number_attribute("text"); });
  expect("pair: attribute must hold 3 numbers",
         [](const Hdf5Reader& file) { file.integer_attributes("pair", 3); });
  expect("pair: attribute must be a string",
         [](const Hdf5Reader& file) { file.text_attribute("pair"); });
}

TEST(Hdf5, NothingIsAllocatedByASizeThatTheFileCannotHold) {
  const TemporaryFolder folder;
  {
    Hdf5Writer file(folder / "a.h5");
    file.write("/numbers", Hdf5Array<double>{{2}, {1, 2}});
    file.close();
  }
  // The extent is stored as 8 bytes, twice: sizes and largest sizes.
  std::string bytes = file_bytes(folder / "a.h5");
  const std::string extent("\2\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0", 16);
  const size_t at = bytes.find(extent);
  ASSERT_NE(at, std::string::npos);
  for (const size_t i : {size_t{0}, size_t{8}}) bytes[at + i + 5] = 1;  // 2^40 + 2 elements
  write_bytes(folder / "a.h5", bytes);
  const std::string text = error_of<UserError>(
      [&] { Hdf5Reader(folder / "a.h5", "the test's file").doubles("/numbers"); });
  EXPECT_NE(text.find("/numbers: is larger than the whole file"), std::string::npos) << text;
}

TEST(Hdf5, AFileThatCannotBeMadeIsTheRunsFault) {
  const TemporaryFolder folder;
  const std::string text = error_of<RunError>([&] { Hdf5Writer(folder / "none/a.h5"); });
  EXPECT_NE(text.find("none/a.h5"), std::string::npos) << text;
}

}  // namespace
}  // namespace vmla::data
