#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "launch/doctor/machine.h"

namespace vmla::launch::doctor {

/// How another program ended, and what it printed on stdout, at most 64 KiB of it.
struct ProgramAnswer {
  std::string out;
  std::string problem;  // not empty: could not be started, took too long, or its bad end
  double seconds = 0;
};

/// Runs a program; after `most_seconds` it is killed.
ProgramAnswer ask_program(const std::filesystem::path& program,
                          const std::vector<std::string>& arguments,
                          double most_seconds);

}  // namespace vmla::launch::doctor
