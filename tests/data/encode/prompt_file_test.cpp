#include "data/encode/prompt_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::data {
namespace {

TEST(PromptFile, ALineIsAPrompt) {
  const TemporaryFolder folder;
  const auto read = [&](const std::string& bytes) {
    write_bytes(folder / "p.txt", bytes);
    return read_prompt_file(folder / "p.txt");
  };
  using Prompts = std::vector<std::string>;
  EXPECT_EQ(read("a\nb\n"), (Prompts{"a", "b"}));
  EXPECT_EQ(read("a\nb"), (Prompts{"a", "b"}));
  EXPECT_EQ(read("\xEF\xBB\xBF"
                 "a\r\n\r\n b \r\n"),
            (Prompts{"a", "", " b "}));
  EXPECT_EQ(read("\n"), (Prompts{""}));
  EXPECT_EQ(read("едет 移動 \xF0\x9F\x90\x84\n"), (Prompts{"едет 移動 \xF0\x9F\x90\x84"}));
}

TEST(PromptFile, BadFilesAreNamedWithThePlace) {
  const TemporaryFolder folder;
  const auto complaint = [&](const std::string& bytes) {
    write_bytes(folder / "p.txt", bytes);
    const std::string text = error_of<UserError>([&] { read_prompt_file(folder / "p.txt"); });
    EXPECT_NE(text.find("p.txt: "), std::string::npos) << text;
    return text;
  };
  const auto expect = [&](const std::string& bytes, const std::string& what) {
    const std::string text = complaint(bytes);
    EXPECT_NE(text.find(what), std::string::npos) << text;
  };
  expect("", "is empty");
  expect("\xEF\xBB\xBF", "is empty");
  // Latin-1; the character before it has two bytes.
  expect("good\n\xC3\xBC r\xE9sum\xE9\n",
         "line 2, column 4 (byte 5 of the line): 0xe9 is no UTF-8");
  expect("cut \xE7\xA7", "line 1, column 5");  // ends inside a character
  expect("\xC0\xAF", "0xc0");                  // "/" in two bytes
  expect("\xE0\x80\xAF", "0xe0");              // and in three
  expect("\xF0\x80\x80\xAF", "0xf0");          // and in four
  expect("\xED\xA0\x80", "0xed");              // a surrogate
  expect("\xF4\x90\x80\x80", "0xf4");          // above U+10FFFF
  expect("\x80", "0x80");                      // starts inside a character
  expect("\xFF\xFEh\0i\0", "0xff");            // UTF-16
  expect(std::string("a\nb\0c\n", 6), "line 2, column 2 (byte 2 of the line): 0x00 is no text");
  EXPECT_NE(error_of<UserError>([&] { read_prompt_file(folder / "none.txt"); }).find("none.txt"),
            std::string::npos);
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);  // and is not waited for
  EXPECT_NE(error_of<UserError>([&] { read_prompt_file(folder / "pipe"); }).find("it is a pipe"),
            std::string::npos);
}

}  // namespace
}  // namespace vmla::data
