#include "model/formats/sampling_facts.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <nlohmann/json.hpp>

#include "model/io/error.h"
#include "model/io/json_text.h"

namespace vmla::model {
namespace {

using Document = nlohmann::json;

constexpr std::array<std::string_view, 3> kSamplers = {"few_step", "unipc", "euler"};
constexpr double kMostTime = 1000;    // a timestep of pure noise
constexpr double kMostNumber = 1e6;   // of steps, shifts and guidance scales
constexpr size_t kMostListed = 1000;  // steps of a list: there are not more times

/// The value at `key` if there is one, as a number from 0 to `most`.
void read_number(
    const Document& json, const char* key, double most, double& out, const std::string& file) {
  const auto found = json.find(key);
  if (found == json.end()) return;
  const double value = found->is_number() ? found->get<double>() : -1;
  if (!(value >= 0 && value <= most)) {
    fail_user("{}: {}: a number from 0 to {:g} is needed", file, key, most);
  }
  out = value;
}

void read_times(const Document& json,
                const char* key,
                std::vector<double>& out,
                const std::string& file) {
  const auto found = json.find(key);
  if (found == json.end()) return;
  const bool sound =
      found->is_array() && found->size() <= kMostListed &&
      std::ranges::all_of(*found, [](const Document& entry) {
        return entry.is_number() && entry.get<double>() >= 0 && entry.get<double>() <= kMostTime;
      });
  if (!sound) fail_user("{}: {}: a list of timesteps from 0 to 1000 is needed", file, key);
  out = found->get<std::vector<double>>();
}

}  // namespace

std::string sampling_json(const SamplingFacts& s) {
  const nlohmann::ordered_json json = {
      {"causal", s.causal},
      {"sampler", s.sampler},
      {"denoising_step_list", s.denoising_step_list},
      {"first_chunk_denoising_step_list", s.first_chunk_denoising_step_list},
      {"steps", s.steps},
      {"timestep_shift", s.timestep_shift},
      {"guidance_scale", s.guidance_scale},
      {"context_noise", s.context_noise}};
  return json.dump(2) + "\n";
}

SamplingFacts parse_sampling_json(std::string_view text, const std::string& file) {
  const auto json = io::parse_json<Document>(text, file);
  if (!json.is_object()) fail_user("{}: not a JSON object", file);
  SamplingFacts out;
  const auto causal = json.find("causal");
  if (causal == json.end() || !causal->is_boolean())
    fail_user("{}: causal: true or false is needed", file);
  out.causal = causal->get<bool>();
  const auto sampler = json.find("sampler");
  const bool known = sampler != json.end() && sampler->is_string() &&
                     std::ranges::find(kSamplers, sampler->get<std::string>()) != kSamplers.end();
  if (!known) fail_user("{}: sampler: few_step, unipc or euler is needed", file);
  out.sampler = sampler->get<std::string>();
  read_times(json, "denoising_step_list", out.denoising_step_list, file);
  read_times(json, "first_chunk_denoising_step_list", out.first_chunk_denoising_step_list, file);
  auto steps = static_cast<double>(out.steps);
  read_number(json, "steps", kMostNumber, steps, file);
  out.steps = std::llround(steps);
  read_number(json, "timestep_shift", kMostNumber, out.timestep_shift, file);
  read_number(json, "guidance_scale", kMostNumber, out.guidance_scale, file);
  read_number(json, "context_noise", kMostTime, out.context_noise, file);
  return out;
}

}  // namespace vmla::model
