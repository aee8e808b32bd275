#include "trainer/planner/fit_proposal.h"

#include "model/config/recompute.h"
#include "model/io/error.h"
#include "model/network/sequence_slices.h"
#include "trainer/config/rank_arrangement.h"
#include "trainer/config/validate_config.h"
#include "trainer/distributed/collectives/dry_communicator.h"
#include "trainer/distributed/sharding/sharding_mode.h"
#include "trainer/planner/sharding_choice.h"
#include "trainer/roles/role_state.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>

namespace vmla::trainer {
namespace {

// Ranks of a machine, over which hybrid sharding cuts when its groups have no size.
constexpr int64_t kUsualNode = 8;
constexpr int64_t kMostRanks = 1024;
constexpr double kUsualGpu = 80e9;
// A step of a large network takes seconds to plan, and a search plans many: it ends after this.
constexpr std::chrono::seconds kSearchTime(30);
using Clock = std::chrono::steady_clock;

/// One setting that makes a step smaller. `text` is how a user writes it.
struct Measure {
  std::string text;
  std::function<void(TrainConfig&)> apply;
};

/// Everything that may help, the cheapest in time first.
std::vector<Measure> measures(const TrainConfig& config,
                              const std::vector<PlannedRole>& roles,
                              int64_t ranks) {
  std::vector<Measure> all;
  if (config.train.micro_batch_size != 1)
    all.push_back({"train.micro_batch_size=1", [](auto& c) { c.train.micro_batch_size = 1; }});
  if (ranks > 1 && !cuts_used_weights(config)) {
    const std::string mode(distributed::most_cut_mode().name);
    all.push_back({"distributed.sharding=" + mode, [mode](auto& c) {
                     c.distributed.sharding = mode;
                     c.distributed.shard_size = 0;
                   }});
  }
  for (const char* more : {"selective", "block"}) {
    if (!model::recomputes_more(more, config.train.recompute)) continue;
    all.push_back(
        {formatted("train.recompute={}", more), [more](auto& c) { c.train.recompute = more; }});
  }
  for (int64_t share = 2; share <= std::min(ranks, kUsualNode); share *= 2) {
    if (share <= config.distributed.sequence_parallel_size) continue;
    all.push_back({formatted("distributed.sequence_parallel_size={}", share),
                   [share](auto& c) { c.distributed.sequence_parallel_size = share; }});
  }
  const auto offload = [&](std::vector<std::string> what) {
    for (const std::string& given : config.distributed.offload)
      if (std::ranges::find(what, given) == what.end()) what.push_back(given);
    std::string list;
    for (const std::string& one : what) list += (list.empty() ? "" : ", ") + one;
    all.push_back({formatted("distributed.offload=[{}]", list),
                   [what](auto& c) { c.distributed.offload = what; }});
  };
  std::vector<std::string> movable;
  for (const PlannedRole& planned : roles) {
    const std::string& name = planned.role.name;
    const bool known = name == "generator_ema" || name == "target_ema" || name == "teacher" ||
                       name == "real_score";
    if (known) movable.push_back(name);
  }
  // Activations last, for they can be offloaded only where something is recomputed.
  for (const bool activations : {false, true}) {
    std::vector<std::string> what = {"optimizer"};
    if (activations) what.emplace_back("activations");
    offload(what);
    if (movable.empty()) continue;
    what.insert(what.end(), movable.begin(), movable.end());
    offload(what);
  }
  return all;
}

/// The peak of a step with these settings on so many ranks; none where the ranks cannot be arranged
/// so. What is `auto` is taken as what needs least memory: sharding_choice finds it when it must.
std::optional<int64_t> peak_of(TrainConfig config,
                               const std::vector<PlannedRole>& roles,
                               const PlannedMedia& media,
                               int64_t ranks) {
  try {
    validate_config(config, Purpose::kPipelineStage);
    const auto mesh = mesh_shape(config, ranks, std::min(ranks, kUsualNode));
    for (const PlannedRole& planned : roles)
      model::check_sequence_slices(
          planned.config, media.clip.height, media.clip.width, mesh.sequence);
    DistributedConfig& d = config.distributed;
    const bool cut = mesh.shard > 1 && cuts_used_weights(config);
    if (d.gradient_accumulation == "auto")
      d.gradient_accumulation = cut || scatters_gradients(d) ? "scattered" : "local";
    if (d.hold_weights == "auto") d.hold_weights = "false";
    return planned_step(of_one_rank(config, mesh), roles, media, distributed::dry_mesh(mesh))
        .peak_bytes;
  } catch (const UserError&) {
    return std::nullopt;
  }
}

/// The search on one number of ranks.
class Search {
 public:
  Search(const TrainConfig& config,
         const std::vector<PlannedRole>& roles,
         const PlannedMedia& media,
         const MemoryRequest& request,
         int64_t ranks,
         Clock::time_point deadline)
      : config_(config),
        roles_(roles),
        media_(media),
        request_(request),
        ranks_(ranks),
        deadline_(deadline),
        all_(measures(config, roles, ranks)) {}

  /// The measures that are needed; none where all of them do not suffice.
  std::optional<FitProposal> run() {
    std::vector<bool> taken(all_.size(), false);
    std::optional<int64_t> peak = plan(taken);
    for (size_t i = 0; i < all_.size() && !fits(peak); ++i) {
      std::vector<bool> more = taken;
      more[i] = true;
      // A measure with which the ranks cannot be arranged is passed over.
      if (const auto with = plan(more)) taken = more, peak = with;
    }
    if (!fits(peak)) return std::nullopt;
    for (size_t i = 0; i < all_.size(); ++i) {
      // Of several values for a key the last one is in force, so that it goes first.
      while (taken[i]) {
        std::vector<bool> less = taken;
        less[last_of_key(taken, i)] = false;
        const auto without = plan(less);
        if (!fits(without)) break;
        taken = less, peak = without;
      }
    }
    FitProposal found;
    found.ranks = ranks_;
    found.peak_bytes = *peak;
    for (size_t i = 0; i < all_.size(); ++i) {
      if (taken[i] && last_of_key(taken, i) == i) found.set.push_back(all_[i].text);
    }
    found.fits_as_it_is = found.set.empty();
    return found;
  }

 private:
  bool fits(const std::optional<int64_t>& peak) const {
    return peak && static_cast<double>(*peak) <= kUsableMemory * request_.gpu_memory;
  }

  /// Nothing once the time is up: what was found until then stays.
  std::optional<int64_t> plan(const std::vector<bool>& taken) const {
    if (Clock::now() > deadline_) return std::nullopt;
    TrainConfig tried = config_;
    for (size_t i = 0; i < all_.size(); ++i)
      if (taken[i]) all_[i].apply(tried);
    return peak_of(tried, roles_, media_, ranks_);
  }

  /// The last measure that was taken of this one's key.
  size_t last_of_key(const std::vector<bool>& taken, size_t which) const {
    const std::string key = all_[which].text.substr(0, all_[which].text.find('=') + 1);
    size_t last = which;
    for (size_t i = which + 1; i < all_.size(); ++i)
      if (taken[i] && all_[i].text.starts_with(key)) last = i;
    return last;
  }

  const TrainConfig& config_;
  const std::vector<PlannedRole>& roles_;
  const PlannedMedia& media_;
  const MemoryRequest& request_;
  int64_t ranks_;
  Clock::time_point deadline_;
  std::vector<Measure> all_;
};

}  // namespace

FitProposal propose_fit(const TrainConfig& config,
                        const std::vector<PlannedRole>& roles,
                        const PlannedMedia& media,
                        const MemoryRequest& request) {
  const Clock::time_point deadline = Clock::now() + kSearchTime;
  for (int64_t ranks = request.mesh.world; ranks <= kMostRanks && Clock::now() < deadline;
       ranks *= 2) {
    if (const auto found = Search(config, roles, media, request, ranks, deadline).run())
      return *found;
  }
  return {};
}

std::string fit_lines(const TrainConfig& config,
                      const std::vector<PlannedRole>& roles,
                      const PlannedMedia& media,
                      const MemoryRequest& request) {
  if (config.train.device != "cuda") return "";
  MemoryRequest asked = request;
  if (asked.gpu_memory == 0) asked.gpu_memory = kUsualGpu;
  const FitProposal found = propose_fit(config, roles, media, asked);
  const auto size = [](double bytes) { return size_text(static_cast<int64_t>(bytes)); };
  const std::string gpus = formatted("{} GPU{} of {}{}",
                                     request.mesh.world,
                                     request.mesh.world == 1 ? "" : "s",
                                     size(asked.gpu_memory),
                                     request.gpu_memory == 0 ? " (--gpu-memory says another)" : "");
  if (found.ranks == 0) {
    return formatted(
        "no setting was found with which it fits on {}, nor on more of them, in {} s of search\n",
        gpus,
        static_cast<int64_t>(kSearchTime.count()));
  }
  const std::string needs = formatted(
      "{} of {} usable", size_text(found.peak_bytes), size(kUsableMemory * asked.gpu_memory));
  if (found.fits_as_it_is && found.ranks == request.mesh.world)
    return formatted("fits on {}: {}\n", gpus, needs);
  std::string text = formatted("does not fit on {}; fits", gpus);
  if (found.ranks != request.mesh.world) text += formatted(" on {} of them", found.ranks);
  text += formatted(" ({}){}\n", needs, found.set.empty() ? "" : " with");
  for (const std::string& one : found.set) text += formatted("  --set {}\n", one);
  return text;
}

}  // namespace vmla::trainer
