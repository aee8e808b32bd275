// Text and files that others wrote: what is no text, is nested without end, or is no file at all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>
#include <nlohmann/json.hpp>

#include <string>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/json_text.h"
#include "model/io/mapped_file.h"
#include "model/io/sha256.h"
#include "model/io/user_file.h"
#include "model/io/utf8.h"
#include "model/io/yaml_text.h"
#include "tests/support/temporary_folder.h"

namespace vmla::io {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

std::string repeated(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

TEST(ForeignText, Utf8IsToldFromOtherBytes) {
  EXPECT_EQ(first_bad_text_byte("plain, ä, 漢, 🦊"), std::nullopt);
  EXPECT_EQ(first_bad_text_byte(""), std::nullopt);
  EXPECT_EQ(first_bad_text_byte("ab\xff"), 2u);
  EXPECT_EQ(first_bad_text_byte("a\xc3"), 1u);             // cut off
  EXPECT_EQ(first_bad_text_byte("\xc0\xaf"), 0u);          // longer than needed
  EXPECT_EQ(first_bad_text_byte("\xed\xa0\x80"), 0u);      // a surrogate
  EXPECT_EQ(first_bad_text_byte("\xf4\x90\x80\x80"), 0u);  // above U+10FFFF
  EXPECT_EQ(first_bad_text_byte(std::string("a\0b", 3)), 1u);
}

TEST(ForeignText, JsonHasADepth) {
  const auto problem = [](const std::string& text) {
    return error_of<UserError>([&] { check_json_text(text, "f.json"); });
  };
  EXPECT_NO_THROW(check_json_text(repeated("[", 64) + repeated("]", 64), "f.json"));
  EXPECT_NO_THROW(check_json_text("[\"" + repeated("[", 1000) + "\\\"[[\"]", "f.json"));
  EXPECT_THAT(problem(repeated("[", 200'000)), AllOf(StartsWith("f.json: "), HasSubstr("64")));
  EXPECT_THAT(problem(repeated("{\"a\":", 200'000)), HasSubstr("64 levels"));
  EXPECT_THAT(problem(std::string("{}\0{}", 5)), HasSubstr("byte 3 is zero"));
  EXPECT_THAT(problem(std::string("\"\\\0\"", 4)), HasSubstr("byte 3 is zero"));
}

TEST(ForeignText, JsonIsParsedWhereItIsHarmless) {
  using Json = nlohmann::json;
  EXPECT_EQ(parse_json<Json>("{\"a\": [1]}", "f.json")["a"][0], 1);
  EXPECT_EQ(parse_json_or_discard<Json>("[2]")[0], 2);
  EXPECT_TRUE(parse_json<Json>("{\"a\"", "f.json").is_discarded());
  EXPECT_TRUE(parse_json_or_discard<Json>("").is_discarded());
  const std::string deep = repeated("[", 100) + repeated("]", 100);
  EXPECT_TRUE(parse_json_or_discard<Json>(deep).is_discarded());
  EXPECT_THAT(error_of<UserError>([&] { parse_json<Json>(deep, "f.json"); }),
              HasSubstr("f.json: JSON nested"));
}

TEST(ForeignText, YamlHasADepthAndASize) {
  const auto problem = [](const std::string& text) {
    return error_of<UserError>([&] { parse_yaml_documents(text, "f.yaml"); });
  };
  EXPECT_EQ(parse_yaml_documents("a: 1\n---\nb: 2\n", "f.yaml").size(), 2u);
  EXPECT_NO_THROW(parse_yaml_documents("a: &x {k: 1}\nb: *x\nc: [*x, *x]\n", "f.yaml"));
  EXPECT_THAT(problem("a: " + repeated("[", 40) + repeated("]", 40) + "\n"),
              AllOf(StartsWith("f.yaml:1: "), HasSubstr("32 levels")));
  problem(repeated("[", 100'000));
  problem(repeated("{a: ", 100'000));
  problem(repeated("- ", 100'000));
  // Every line holds ten times what the line before holds.
  std::string bomb = "a0: &a0 [1, 1]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string alias = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" +
            repeated(alias + ", ", 9) + alias + "]\n";
  }
  EXPECT_THAT(problem(bomb), AllOf(StartsWith("f.yaml:"), HasSubstr("aliases")));
  EXPECT_THAT(problem("a: &x [*x]\n"), HasSubstr("f.yaml"));
  EXPECT_THAT(problem("a: 1\nb: \xff\n"), AllOf(StartsWith("f.yaml:2: "), HasSubstr("0xff")));
  EXPECT_THAT(problem("a: \"x\\0y\"\n"), HasSubstr("zero byte"));
}

TEST(ForeignFile, OnlyRegularFilesAreRead) {
  const TemporaryFolder folder;
  const auto pipe = folder / "pipe", link = folder / "link", file = folder / "file";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::filesystem::create_symlink(pipe, link);
  write_bytes(file, "text");
  for (const auto& path : {pipe, link}) {
    EXPECT_THAT(error_of<UserError>([&] { read_text_file(path); }), HasSubstr("a pipe"));
    EXPECT_THAT(error_of<UserError>([&] { file_sha256(path); }), HasSubstr("a pipe"));
    EXPECT_THAT(error_of<UserError>([&] { MappedFile mapped(path); }), HasSubstr("a pipe"));
  }
  EXPECT_THAT(error_of<UserError>([&] { read_text_file(folder.path()); }), HasSubstr("a folder"));
  EXPECT_THAT(error_of<UserError>([&] { read_text_file("/dev/zero"); }), HasSubstr("a device"));
  EXPECT_THAT(error_of<UserError>([&] { read_text_file(folder / "none"); }),
              HasSubstr("No such file"));
  EXPECT_EQ(read_text_file(file), "text");
  std::filesystem::resize_file(file, (uint64_t{1} << 32) + 1);  // a hole: takes no room on the disk
  EXPECT_THAT(error_of<UserError>([&] { read_text_file(file); }), HasSubstr("too many"));
}

// yaml-cpp by itself finds empty documents without end there.
TEST(YamlText, ACommaOrBracketOfNoListIsRefused) {
  for (const char* text : {",", ",[a]", "a: 1\n---\n, b", "]", "}", "a: 1\n...\n]"}) {
    EXPECT_NE(error_of<UserError>([&] { parse_yaml_documents(text, "f"); }).find("not valid yaml"),
              std::string::npos)
        << text;
  }
}

}  // namespace
}  // namespace vmla::io
