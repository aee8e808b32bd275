#pragma once

#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

#include "launch/command_line.h"
#include "model/io/error.h"

namespace vmla::launch {

/// What `vmla WORDS...` asks for.
inline CommandLine parse(const std::vector<std::string>& words) {
  std::vector<const char*> argv = {"vmla"};
  for (const auto& word : words) argv.push_back(word.c_str());
  return parse_command_line(static_cast<int>(argv.size()), argv.data());
}

/// The arguments of the command T.
template <class T>
T parsed(const std::vector<std::string>& words) {
  return std::get<T>(parse(words).command);
}

/// The line with which `vmla WORDS...` is refused; fails the test when it is not.
inline std::string error_of(const std::vector<std::string>& words) {
  try {
    parse(words);
  } catch (const UserError& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

}  // namespace vmla::launch
