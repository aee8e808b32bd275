#include "launch/completion.h"

#include <algorithm>

#include "model/io/format.h"

namespace vmla::launch {
namespace {

/// The commands of a group ("" for the first words of all), without the group's name.
std::vector<CompletionCommand> commands_of(const std::vector<CompletionCommand>& all,
                                           const std::string& group) {
  std::vector<CompletionCommand> out;
  for (CompletionCommand command : all) {
    const size_t space = command.name.find(' ');
    const bool fits = group.empty()
                          ? space == std::string::npos
                          : command.name.substr(0, space) == group && space != std::string::npos;
    if (!fits) continue;
    if (!group.empty()) command.name.erase(0, group.size() + 1);
    out.push_back(command);
  }
  return out;
}

/// First words that other words follow.
std::vector<std::string> groups_of(const std::vector<CompletionCommand>& all) {
  std::vector<std::string> out;
  for (const CompletionCommand& command : all) {
    const size_t space = command.name.find(' ');
    const std::string group = command.name.substr(0, space);
    if (space != std::string::npos && std::ranges::find(out, group) == out.end()) {
      out.push_back(group);
    }
  }
  return out;
}

std::string joined(const std::vector<std::string>& words, const std::string& between) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : between) + word;
  return out;
}

std::string names_of(const std::vector<CompletionCommand>& commands) {
  std::vector<std::string> names;
  for (const CompletionCommand& command : commands) names.push_back(command.name);
  return joined(names, " ");
}

/// The first line of a help, with what zsh's _arguments and _describe take for their own escaped,
/// inside single quotes.
std::string zsh_text(const std::string& help) {
  std::string out;
  for (const char c : help.substr(0, help.find('\n'))) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
      out += c;
    }
  }
  return out;
}

std::string zsh_descriptions(const std::vector<CompletionCommand>& commands) {
  std::string out;
  for (const CompletionCommand& command : commands) {
    out += formatted(" '{}:{}'", command.name, zsh_text(command.summary));
  }
  return out;
}

std::string zsh_argument(const CompletionOption& option) {
  const std::string value = !option.takes_value ? ""
                            : option.choices.empty()
                                ? ":value:_files"
                                : formatted(":value:({})", joined(option.choices, " "));
  return formatted("      '*{}[{}]{}' \\\n", option.name, zsh_text(option.help), value);
}

}  // namespace

std::string bash_completion(const std::vector<CompletionCommand>& commands) {
  const std::vector<std::string> groups = groups_of(commands);
  std::string first_words, values, options;
  for (const std::string& group : groups) {
    first_words += formatted(
        "      {}) words='{} --help' ;;\n", group, names_of(commands_of(commands, group)));
  }
  for (const CompletionCommand& command : commands) {
    std::vector<std::string> names;
    for (const CompletionOption& option : command.options) {
      names.push_back(option.name);
      if (!option.takes_value) continue;
      // Without words the shell offers file names.
      values += formatted(
          "    '{} {}') words='{}' ;;\n", command.name, option.name, joined(option.choices, " "));
    }
    if (!names.empty())
      options += formatted("        '{}') words='{}' ;;\n", command.name, joined(names, " "));
  }
  return formatted(
      R"(# bash completion of vmla. Made by: vmla completion bash
_vmla() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}}
  local command=${{COMP_WORDS[1]-}} at=1 words=
  COMPREPLY=()
  case $command in
    {}) command+=" ${{COMP_WORDS[2]-}}" at=2 ;;
  esac
  if ((COMP_CWORD == 1)); then
    words='{} --help --version'
  elif ((COMP_CWORD == at)); then
    case ${{COMP_WORDS[1]}} in
{}    esac
  else
    case "$command $prev" in
{}    *)
      [[ $cur == -* ]] && case $command in
{}      esac
      ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _vmla vmla
)",
      joined(groups, " | "),
      names_of(commands_of(commands, "")),
      first_words,
      values,
      options);
}

std::string zsh_completion(const std::vector<CompletionCommand>& commands) {
  const std::vector<std::string> groups = groups_of(commands);
  std::string of_groups, arguments;
  for (const std::string& group : groups) {
    of_groups += formatted(
        "      {}) commands=({}) ;;\n", group, zsh_descriptions(commands_of(commands, group)));
  }
  for (const CompletionCommand& command : commands) {
    if (command.options.empty()) continue;
    arguments += formatted("    '{}')\n      _arguments \\\n", command.name);
    for (const CompletionOption& option : command.options) arguments += zsh_argument(option);
    arguments += "      '*:file:_files'\n      ;;\n";
  }
  return formatted(
      R"(#compdef vmla
# zsh completion of vmla. Made by: vmla completion zsh
_vmla() {{
  local -a commands
  local command=$words[2] at=2
  case $command in
    {}) command+=" $words[3]" at=3 ;;
  esac
  if ((CURRENT == 2)); then
    commands=({})
    _describe command commands
    return
  fi
  if ((CURRENT == at)); then
    case $words[2] in
{}    esac
    _describe command commands
    return
  fi
  shift $((at - 1)) words
  ((CURRENT -= at - 1))
  case $command in
{}  esac
}}
if [[ $funcstack[1] == _vmla ]]; then
  _vmla "$@"
else
  compdef _vmla vmla
fi
)",
      joined(groups, " | "),
      zsh_descriptions(commands_of(commands, "")),
      of_groups,
      arguments);
}

}  // namespace vmla::launch
