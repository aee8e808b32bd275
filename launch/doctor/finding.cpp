#include "launch/doctor/finding.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>

#include "model/io/format.h"
#include "model/io/quoted_name.h"

namespace vmla::launch::doctor {
namespace {

constexpr std::array kVerdicts = {Verdict::kOk, Verdict::kSlow, Verdict::kWrong, Verdict::kAbsent};

std::string padded(std::string text, size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

}  // namespace

const char* verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk:
      return "ok";
    case Verdict::kSlow:
      return "slow";
    case Verdict::kWrong:
      return "wrong";
    case Verdict::kAbsent:
      return "absent";
  }
  return "";
}

std::string section_text(const Findings& findings, const std::string& section) {
  std::string text = section + "\n";
  for (const Finding& finding : findings) {
    if (finding.section != section) continue;
    std::string line = "  " + padded(verdict_name(finding.verdict), 8) + padded(finding.name, 30) +
                       " " + finding.found;
    if (!finding.advice.empty()) line += "; " + finding.advice;
    text += io::printable(line) + "\n";
  }
  return text;
}

std::string verdict_counts(const Findings& findings) {
  std::string text;
  for (const Verdict verdict : kVerdicts) {
    const auto count = std::ranges::count(findings, verdict, &Finding::verdict);
    text += formatted("{}{} {}", text.empty() ? "" : ", ", count, verdict_name(verdict));
  }
  return text;
}

std::string findings_json(const Findings& findings, const std::string& program) {
  nlohmann::ordered_json lines = nlohmann::ordered_json::array();
  for (const Finding& finding : findings) {
    nlohmann::ordered_json figures = nlohmann::ordered_json::object();
    // JSON has no infinity: a figure that is none is left out.
    for (const auto& [name, value] : finding.figures) {
      if (std::isfinite(value)) figures[name] = value;
    }
    lines.push_back({{"section", finding.section},
                     {"name", finding.name},
                     {"verdict", verdict_name(finding.verdict)},
                     {"found", finding.found},
                     {"advice", finding.advice},
                     {"figures", figures}});
  }
  const nlohmann::ordered_json all = {{"program", program}, {"findings", lines}};
  // Names come from the system and may be no UTF-8.
  return all.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

bool any_wrong(const Findings& findings) {
  return std::ranges::any_of(findings,
                             [](const Finding& f) { return f.verdict == Verdict::kWrong; });
}

}  // namespace vmla::launch::doctor
