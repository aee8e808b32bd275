#include "launch/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <sstream>
#include <type_traits>

#include "launch/completion.h"
#include "launch/options/help_text.h"
#include "model/io/error.h"
#include "trainer/config/config_node.h"

namespace vmla::launch {
namespace {

const CommandText kProgram = {
    "vmla",
    "vmla: trains causal video diffusion transformers with latent attention (VideoMLA)",
    R"(First steps, on a CPU, in minutes:
  vmla pipeline --config configs/tiny/pipeline.yaml     trains everything, writes runs/tiny/report.html
  vmla sample --checkpoint runs/tiny/tf_svd --prompt "a red circle moves left" --frames 27 --out videos

Your own videos:
  vmla data encode --videos DIR --out clips.h5          videos + captions -> latents
  vmla data inspect clips.h5
  vmla train --config stage.yaml --set data.path=clips.h5

`vmla COMMAND --help` says what a command reads and writes; `vmla train --list-keys` lists the configuration.
Exit status: 0 done; 2 the input was wrong (one line on stderr); 1 a fault; 75 stopped on request after saving,
run again to go on.)"};

// Two words that are no commands of the list: what they print follows from it.
constexpr char kHelpWord[] = "help", kCompletionWord[] = "completion";
constexpr std::string_view kCompletionHelp = R"(For the shell that runs:
  source <(vmla completion bash)
For all: the build puts both scripts into build/completions, and the install puts them where the
shells look for them.)";

/// Calls work(std::type_identity<T>) for the type T of every command.
template <class Work, Command... T>
void for_each_command(const Work& work, std::type_identity<std::variant<T...>>) {
  (work(std::type_identity<T>{}), ...);
}

/// CLI11's parser with every command of the list.
class Parser {
 public:
  Parser() : root_(std::string(kProgram.summary), std::string(kProgram.name)) {
    root_.footer(std::string(kProgram.help));
    root_.set_version_flag("--version", std::string("vmla ") + VMLA_VERSION);
    root_.require_subcommand(1);
    for_each_command([this]<class T>(std::type_identity<T>) { add<T>(); },
                     std::type_identity<AnyCommand>{});
    root_.add_subcommand(kHelpWord, "prints the help of a command");
    completion_ = root_.add_subcommand(
        kCompletionWord, "prints a script that completes this command line in a shell");
    completion_->add_option("shell", shell_, "bash or zsh")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh"}).description(""));
    completion_->footer(std::string(kCompletionHelp));
  }

  CLI::App& root() { return root_; }

  /// After root().parse(): the command that was given, checked.
  CommandLine given() const {
    if (completion_->parsed()) {
      std::vector<CompletionCommand> table;
      add_to(table, root_, "");
      return {shell_ == "bash" ? bash_completion(table) : zsh_completion(table), {}};
    }
    for (const Entry& entry : entries_) {
      if (entry.app->parsed()) return entry.command_line();
    }
    fail_user("no command given; see vmla --help");
  }

 private:
  struct Entry {
    const CLI::App* app;
    std::function<CommandLine()> command_line;
  };

  template <class T>
  void add() {
    CLI::App* const app = add_subcommand(T::kText);
    // CLI11 keeps references to the members until it has parsed.
    const auto args = std::make_shared<T>();
    OptionSet options(*app);
    args->define(options);
    entries_.push_back({app, [args] {
                          args->check();
                          return CommandLine{args->answer(), *args};
                        }});
  }

  /// The subcommand of the name's last word, in the group of the word before it.
  CLI::App* add_subcommand(const CommandText& text) {
    const size_t space = text.name.find(' ');
    const bool in_group = space != std::string_view::npos;
    CLI::App& parent = in_group ? group(std::string(text.name.substr(0, space))) : root_;
    const std::string word(in_group ? text.name.substr(space + 1) : text.name);
    CLI::App* const app = parent.add_subcommand(word, std::string(text.summary));
    app->footer(std::string(text.help));
    return app;
  }

  CLI::App& group(const std::string& name) {
    if (const auto known = groups_.find(name); known != groups_.end()) return *known->second;
    const auto text = std::find_if(std::begin(kCommandGroups),
                                   std::end(kCommandGroups),
                                   [&](const CommandText& row) { return row.name == name; });
    if (text == std::end(kCommandGroups)) {
      fail_run("launch/commands.h: the group '{}' has no row in kCommandGroups", name);
    }
    CLI::App* const added = root_.add_subcommand(name, std::string(text->summary));
    added->require_subcommand(1);
    groups_[name] = added;
    return *added;
  }

  /// The commands below `app`, whose own name is `prefix`, for completion.
  static void add_to(std::vector<CompletionCommand>& table,
                     const CLI::App& app,
                     const std::string& prefix) {
    for (const CLI::App* sub : app.get_subcommands(nullptr)) {
      const std::string name = prefix.empty() ? sub->get_name() : prefix + " " + sub->get_name();
      table.push_back({name, sub->get_description(), {}});
      if (!sub->get_subcommands(nullptr).empty()) {
        add_to(table, *sub, name);
        continue;
      }
      for (const CLI::Option* option : sub->get_options()) {
        if (!option->get_lnames().empty()) table.back().options.push_back(completion_of(*option));
      }
    }
  }

  static CompletionOption completion_of(const CLI::Option& option) {
    CompletionOption out{.name = "--" + option.get_lnames().front(),
                         .help = option.get_description(),
                         .takes_value = option.get_items_expected_max() > 0,
                         .choices = {}};
    // CLI11 describes the words that are valid as "TEXT:{one,another}".
    const std::string type = option.get_type_name();
    const size_t begin = type.find('{'), end = type.find('}');
    if (end == std::string::npos || begin > end) return out;
    std::istringstream words(type.substr(begin + 1, end - begin - 1));
    for (std::string word; std::getline(words, word, ',');) out.choices.push_back(word);
    return out;
  }

  CLI::App root_;
  CLI::App* completion_ = nullptr;
  std::string shell_;
  std::map<std::string, CLI::App*> groups_;
  std::vector<Entry> entries_;
};

std::vector<std::string> names_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands(nullptr)) names.push_back(sub->get_name());
  return names;
}

/// Refuses a word that is no command, which CLI11 would call an unexpected argument, and lists the
/// commands there are. `group` is what stands before argv[at]: nothing, or "data ".
void check_command(
    const CLI::App& app, const std::string& group, int argc, const char* const* argv, int at) {
  const std::vector<std::string> names = names_of(app);
  if (names.empty()) return;
  const std::string valid = formatted("valid: {}; see vmla {}--help", trainer::join(names), group);
  if (at >= argc) fail_user("no {}command given; {}", group, valid);
  const std::string word = argv[at];
  if (word.starts_with("-")) return;
  if (std::find(names.begin(), names.end(), word) == names.end()) {
    const std::string near = trainer::nearest(word, names);
    fail_user("unknown command '{}{}'; {}{}",
              group,
              word,
              near.empty() ? "" : formatted("did you mean {}? ", near),
              valid);
  }
  check_command(*app.get_subcommand(word), group + word + " ", argc, argv, at + 1);
}

/// The line for the first option that `app` does not know, with the nearest that it does; "" where
/// it knows them all. CLI11 says no more than that an argument was not expected.
std::string unknown_option(const CLI::App& app, int argc, const char* const* argv) {
  std::vector<std::string> known;
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_lnames().empty()) known.push_back("--" + option->get_lnames().front());
  }
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const std::string word = argument.substr(0, argument.find('='));
    if (!word.starts_with("--")) continue;
    if (std::find(known.begin(), known.end(), word) != known.end()) continue;
    const std::string near = trainer::nearest(word, known);
    return formatted(
        "unknown flag {}{}", word, near.empty() ? "" : formatted("; did you mean {}?", near));
  }
  return "";
}

/// Says CLI11's error in one line, behind the command that it is about.
[[noreturn]] void fail_parse(const CLI::ParseError& error,
                             const CLI::App& root,
                             int argc,
                             const char* const* argv) {
  std::string command;  // "data encode"
  const CLI::App* app = &root;
  while (!app->get_subcommands().empty()) {
    app = app->get_subcommands().back();
    command += (command.empty() ? "" : " ") + app->get_name();
  }
  std::string problem = unknown_option(*app, argc, argv);
  if (problem.empty()) problem = error.what();
  std::replace(problem.begin(), problem.end(), '\n', ' ');
  if (command.empty()) fail_user("{}; see vmla --help", problem);
  fail_user("{}: {}; see vmla {} --help", command, problem, command);
}

}  // namespace

CommandLine parse_command_line(int argc, const char* const* argv) {
  if (argc > 1 && std::string_view(argv[1]) == kHelpWord) {
    // `vmla help data encode` is `vmla data encode --help`.
    std::vector<const char*> words(argv, argv + argc);
    words.erase(words.begin() + 1);
    words.push_back("--help");
    return parse_command_line(argc, words.data());
  }
  Parser parser;
  CLI::App& root = parser.root();
  check_command(root, "", argc, argv, 1);
  try {
    root.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return {fit_columns(root.help()), {}};
  } catch (const CLI::CallForVersion& version) {
    return {std::string(version.what()) + "\n", {}};
  } catch (const CLI::ParseError& error) {
    fail_parse(error, root, argc, argv);
  }
  return parser.given();
}

std::vector<CommandText> all_commands() {
  std::vector<CommandText> commands;
  for_each_command([&]<class T>(std::type_identity<T>) { commands.push_back(T::kText); },
                   std::type_identity<AnyCommand>{});
  return commands;
}

}  // namespace vmla::launch
