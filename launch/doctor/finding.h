#pragma once

#include <string>
#include <utility>
#include <vector>

/// What `vmla doctor` finds. Functions named measure_... ask the machine and judge nothing;
/// functions named judge_... make lines of what was measured and ask nothing, so that every verdict
/// and every text can be tested with made-up values.
namespace vmla::launch::doctor {

enum class Verdict {
  kOk,
  kSlow,    // works, far below what such a machine can do
  kWrong,   // does not work, or gives wrong results
  kAbsent,  // is not there, and the program does without it
};

/// "ok", "slow", "wrong", "absent".
const char* verdict_name(Verdict verdict);

/// One line of the page.
struct Finding {
  std::string section = {};
  std::string name = {};
  Verdict verdict = Verdict::kOk;
  std::string found = {};   // what is there, with its figures
  std::string advice = {};  // what to do; empty where nothing is
  std::vector<std::pair<std::string, double>> figures =
      {};  // for programs; SI units, as the name says
};

using Findings = std::vector<Finding>;

/// The page: a block for each section in the order of the findings, then how many lines of each
/// verdict there are.
std::string section_text(const Findings& findings, const std::string& section);
std::string verdict_counts(const Findings& findings);

/// The same for programs: {"program": ..., "findings": [{section, name, verdict, found, advice,
/// figures}]}.
std::string findings_json(const Findings& findings, const std::string& program);

/// Whether a line says `wrong`.
bool any_wrong(const Findings& findings);

}  // namespace vmla::launch::doctor
