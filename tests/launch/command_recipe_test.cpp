// Every command of the list: its help has examples that work, and adding a command takes its own
// sources, one row and a test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/launch/parsing.h"

namespace vmla::launch {
namespace {

namespace fs = std::filesystem;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

/// The lines of a help text that begin with "vmla NAME", each with the lines that continue it.
std::vector<std::string> examples_of(const CommandText& command) {
  const std::string text(command.help), begin = "\n  vmla " + std::string(command.name) + " ";
  std::vector<std::string> examples;
  for (size_t at = text.find(begin); at != std::string::npos; at = text.find(begin, at + 1)) {
    std::string example;
    for (size_t i = at + 3; i < text.size() && text[i] != '\n'; ++i) {
      if (text.compare(i, 2, "\\\n") == 0) {
        ++i;
      } else {
        example += text[i];
      }
    }
    examples.push_back(example);
  }
  return examples;
}

/// The words of a line behind its first: separated by blanks, which may stand in double quotes.
std::vector<std::string> arguments_of(const std::string& line) {
  std::vector<std::string> words = {""};
  bool quoted = false;
  for (const char c : line) {
    if (c == '"') {
      quoted = !quoted;
    } else if (c == ' ' && !quoted) {
      if (!words.back().empty()) words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return {words.begin() + 1, words.end()};
}

TEST(CommandRecipe, HelpHasExamplesThatAreAccepted) {
  const std::vector<CommandText> commands = all_commands();
  for (size_t i = 0; i < commands.size(); ++i) {
    const std::vector<std::string> examples = examples_of(commands[i]);
    EXPECT_THAT(examples, Not(IsEmpty())) << commands[i].name;
    for (const std::string& example : examples) {
      const CommandLine line = parse(arguments_of(example));
      EXPECT_TRUE(line.text || line.command.index() == i) << example;
    }
  }
}

/// "data_encode" for "data encode".
std::string file_name(const CommandText& command) {
  std::string name(command.name);
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

/// "DataEncodeArgs" for "data encode".
std::string type_name(const CommandText& command) {
  std::string name;
  bool starts_word = true;
  for (const char c : command.name) {
    if (c != ' ') name += starts_word ? static_cast<char>(std::toupper(c)) : c;
    starts_word = c == ' ';
  }
  return name + "Args";
}

/// The files below `folder`, relative to it, in which the identifier stands.
std::vector<std::string> files_naming(const std::string& identifier, const fs::path& folder) {
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path());
    const std::string text(std::istreambuf_iterator<char>(in), {});
    for (size_t at = text.find(identifier); at != std::string::npos;
         at = text.find(identifier, at + 1)) {
      if (at > 0 && std::isalnum(static_cast<unsigned char>(text[at - 1]))) continue;
      found.push_back(fs::relative(entry.path(), folder));
      break;
    }
  }
  return found;
}

TEST(CommandRecipe, ACommandTakesItsSourcesOneRowAndATest) {
  const fs::path sources = VMLA_SOURCE_DIR;
  for (const CommandText& command : all_commands()) {
    const std::string own = "commands/" + file_name(command), type = type_name(command);
    EXPECT_THAT(files_naming(type, sources / "launch"),
                UnorderedElementsAre(own + ".h", own + "_options.cpp", own + ".cpp", "commands.h"));
    EXPECT_THAT(files_naming(type, sources / "tests/launch"), Not(IsEmpty())) << type;
  }
}

}  // namespace
}  // namespace vmla::launch
