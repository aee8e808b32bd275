// The shells' completion, and `vmla help`.
#include "launch/completion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>

#include "tests/launch/parsing.h"
#include "tests/support/temporary_folder.h"

namespace vmla::launch {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// What bash offers for a command line, whose last word is being typed.
std::string offered(const std::string& words) {
  const TemporaryFolder folder;
  write_bytes(folder / "vmla.bash", *parse({"completion", "bash"}).text);
  const std::string script = ". " + (folder / "vmla.bash").string() + "; COMP_WORDS=(" + words +
                             "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _vmla; "
                             "echo \"${COMPREPLY[*]}\"";
  std::FILE* const pipe = popen(("bash -uc '" + script + "'").c_str(), "r");
  std::string out;
  for (int c; (c = std::fgetc(pipe)) != EOF;) out += static_cast<char>(c);
  EXPECT_EQ(pclose(pipe), 0);
  if (!out.empty()) out.pop_back();
  return out;
}

TEST(Completion, BashOffersCommandsOptionsAndValues) {
  EXPECT_THAT(offered("vmla \"\""),
              AllOf(HasSubstr("train"), HasSubstr("data"), HasSubstr("help")));
  EXPECT_EQ(offered("vmla pipe"), "pipeline");
  EXPECT_THAT(offered("vmla data \"\""), AllOf(HasSubstr("encode"), Not(HasSubstr("train"))));
  EXPECT_EQ(offered("vmla data enc"), "encode");
  EXPECT_EQ(offered("vmla train --conf"), "--config");
  EXPECT_THAT(offered("vmla data encode --"), AllOf(HasSubstr("--videos"), HasSubstr("--out")));
  EXPECT_EQ(offered("vmla train --config \"\""), "");  // the shell then offers files
  EXPECT_EQ(offered("vmla nonsense --"), "");
}

TEST(Completion, EveryCommandIsInBothScripts) {
  for (const char* shell : {"bash", "zsh"}) {
    const std::string script = *parse({"completion", shell}).text;
    for (const CommandText& command : all_commands()) {
      EXPECT_THAT(script, HasSubstr("\'" + std::string(command.name))) << shell;
    }
  }
  EXPECT_THAT(*parse({"completion", "zsh"}).text, HasSubstr("#compdef vmla\n"));
  EXPECT_THAT(error_of({"completion", "fish"}), HasSubstr("fish"));
}

TEST(Completion, TextsCannotLeaveTheirPlace) {
  const std::vector<CompletionCommand> table = {
      {"run", "it's [new]: a", {{"--way", "either: 'a' or [b]", true, {"a", "b"}}}}};
  EXPECT_THAT(zsh_completion(table),
              AllOf(HasSubstr("'run:it'\\''s \\[new\\]\\: a'"),
                    HasSubstr("'*--way[either\\: '\\''a'\\'' or \\[b\\]]:value:(a b)'")));
  EXPECT_THAT(bash_completion(table), HasSubstr("'run --way') words='a b' ;;"));
}

TEST(Help, IsAWordToo) {
  EXPECT_EQ(parse({"help"}).text, parse({"--help"}).text);
  EXPECT_EQ(parse({"help", "train"}).text, parse({"train", "--help"}).text);
  EXPECT_EQ(parse({"help", "data", "encode"}).text, parse({"data", "encode", "--help"}).text);
  EXPECT_EQ(parse({"help", "data"}).text, parse({"data", "--help"}).text);
  EXPECT_THAT(error_of({"help", "trian"}), HasSubstr("did you mean train"));
}

}  // namespace
}  // namespace vmla::launch
