#include "analysis/page/short_number.h"
#include "analysis/rank/subspace.h"
#include "analysis/report/rank_plots.h"
#include "analysis/report/report_sections.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

// One layer's row: at the first and at the last measurement, what was measured beside it, and its
// nulls (or nullptr).
struct LayerRow {
  size_t layer;
  const LayerRank* first;
  const LayerRank* last;
  const LayerRank* product;
  const LayerRank* truncated;
  const LayerRank* shuffled;
  const LayerRank* gaussian;
  const LayerRank* latents;
  const LayerRank* content;
  const Spectrum* cosines;
};

template <class T>
const T* entry(const std::vector<T>& list, size_t index) {
  return index < list.size() ? &list[index] : nullptr;
}

std::string rank_of(const LayerRank* layer, double EffectiveRank::* figure) {
  return layer != nullptr ? short_number(layer->effective.*figure) : "–";
}

std::vector<LayerRow> layer_rows(const RankLog& ranks) {
  const auto& last = ranks.measurements().back();
  const RankExtras& extras = ranks.extras().back();
  std::vector<LayerRow> rows;
  for (size_t i = 0; i < last.size(); ++i) {
    rows.push_back({.layer = i,
                    .first = &ranks.measurements().front()[i],
                    .last = &last[i],
                    .product = entry(ranks.nulls().product, i),
                    .truncated = entry(ranks.nulls().truncated, i),
                    .shuffled = entry(ranks.nulls().shuffled, i),
                    .gaussian = entry(ranks.nulls().gaussian, i),
                    .latents = entry(extras.latents, i),
                    .content = entry(extras.content, i),
                    .cosines = entry(extras.cosines, i)});
  }
  return rows;
}

std::string rank_table(const RankLog& ranks) {
  constexpr auto kEntropy = &EffectiveRank::entropy_rank;
  constexpr auto kR99 = &EffectiveRank::r99_fractional;
  const auto figure = [](const LayerRank* LayerRow::* of, double EffectiveRank::* what) {
    return [of, what](const LayerRow& row) { return rank_of(row.*of, what); };
  };
  std::vector<Column<LayerRow>> columns = {
      {"", [](const LayerRow& row) { return formatted("layer {}", row.layer); }},
      {"budget d<sub>c</sub>", [](const LayerRow& row) { return formatted("{}", row.last->rank); }},
      {"entropy rank<br>at first", figure(&LayerRow::first, kEntropy)},
      {"entropy rank<br>at last", figure(&LayerRow::last, kEntropy)},
      {"random<br>product", figure(&LayerRow::product, kEntropy)},
      {"truncated SVD<br>of noise", figure(&LayerRow::truncated, kEntropy)},
      {"r<sub>0.99</sub><br>at first", figure(&LayerRow::first, kR99)},
      {"r<sub>0.99</sub><br>at last", figure(&LayerRow::last, kR99)},
      {"random<br>product", figure(&LayerRow::product, kR99)},
      {"truncated SVD<br>of noise", figure(&LayerRow::truncated, kR99)},
      {"stable rank", figure(&LayerRow::last, &EffectiveRank::stable_rank)}};
  const RankExtras& extras = ranks.extras().back();
  if (!extras.latents.empty()) {
    columns.push_back({"latents'<br>entropy rank", figure(&LayerRow::latents, kEntropy)});
    columns.push_back({"keys' and values'<br>entropy rank", figure(&LayerRow::content, kEntropy)});
  }
  if (!extras.cosines.empty()) {
    columns.push_back({"rows still in<br>their first space", [](const LayerRow& row) {
                         return row.cosines != nullptr ? percent(subspace_overlap(*row.cosines))
                                                       : "–";
                       }});
  }
  return table_of(columns, layer_rows(ranks));
}

std::string energy_of(const LayerRank* layer, int64_t rank) {
  return layer != nullptr ? percent(energy_at(layer->spectrum, rank)) : "–";
}

std::string joint_table(const RankLog& ranks) {
  std::vector<Column<LayerRow>> columns = {
      {"", [](const LayerRow& row) { return formatted("layer {}", row.layer); }},
      {"singular<br>values", [](const LayerRow& row) { return formatted("{}", row.last->rank); }}};
  const auto add = [&](const std::string& name,
                       const std::function<std::string(const LayerRank*)>& figure) {
    const auto column = [&](const std::string& head, const LayerRank* LayerRow::* of) {
      columns.push_back({head, [figure, of](const LayerRow& row) { return figure(row.*of); }});
    };
    column(name + "<br>at first", &LayerRow::first);
    column(name + "<br>at last", &LayerRow::last);
    column("entries<br>permuted", &LayerRow::shuffled);
    column("Gaussian,<br>rows as long", &LayerRow::gaussian);
  };
  add("entropy rank",
      [](const LayerRank* layer) { return rank_of(layer, &EffectiveRank::entropy_rank); });
  add("r<sub>0.99</sub>",
      [](const LayerRank* layer) { return rank_of(layer, &EffectiveRank::r99_fractional); });
  for (const int64_t rank : ranks.energy_ranks()) {
    add(formatted("energy in<br>first {}", rank),
        [rank](const LayerRank* layer) { return energy_of(layer, rank); });
  }
  return table_of(columns, layer_rows(ranks));
}

constexpr const char* kJointMeaning =
    "Of [W_K; W_V], the keys' and values' weights of a dense layer together: what one shared "
    "latent "
    "would have to carry. A layer whose energy lies in few singular values could do with a narrow "
    "latent. Grey are the last weights without their structure: the entries of W_K and of W_V in "
    "another order, and independent normals in rows of the same lengths. Only what differs from "
    "these "
    "was learned.";

std::string meaning_of(const RankLog& ranks) {
  const auto share = [](const std::vector<LayerRank>& layers, double EffectiveRank::* figure) {
    return percent(rank_share(layers, figure));
  };
  const auto& first = ranks.measurements().front();
  const auto& last = ranks.measurements().back();
  constexpr auto kEntropy = &EffectiveRank::entropy_rank;
  constexpr auto kR99 = &EffectiveRank::r99_fractional;
  std::string text = formatted(
      "Of the map kv_b · diag(gain) · kv_a. The entropy rank, how many equal singular values would "
      "have the same entropy, went from {} to {} of the budget on average; r<sub>0.99</sub>, the "
      "least rank that holds 99 % of the energy, from {} to {}.",
      share(first, kEntropy),
      share(last, kEntropy),
      share(first, kR99),
      share(last, kR99));
  const RankNulls& nulls = ranks.nulls();
  if (!nulls.product.empty()) {
    text += formatted(" A random product of the same shape has {} and {}",
                      share(nulls.product, kEntropy),
                      share(nulls.product, kR99));
    if (!nulls.truncated.empty()) {
      text += formatted(", a truncated SVD of noise {} and {}",
                        share(nulls.truncated, kEntropy),
                        share(nulls.truncated, kR99));
    }
    text += ": values near these come from the shapes alone, and not from training.";
  }
  if (!ranks.extras().back().latents.empty()) {
    text +=
        " The ranks of latents, and of the keys and values made of them, are those of their "
        "covariance over held-out clips.";
  }
  return text;
}

std::vector<std::string> rank_plot_list(const RankLog& ranks) {
  const LayerPlot entropy{
      .title = "Entropy rank", .y_label = "exp H", .figure = &EffectiveRank::entropy_rank};
  const LayerPlot r99{
      .title = "99 %-energy rank", .y_label = "rank", .figure = &EffectiveRank::r99_fractional};
  const LayerPlot stable{
      .title = "Stable rank", .y_label = "Σs²/s₁²", .figure = &EffectiveRank::stable_rank};
  std::vector<std::string> plots = {layer_rank_plot(ranks, entropy),
                                    layer_rank_plot(ranks, r99),
                                    last_spectra_plot(ranks, "Spectra at the last step"),
                                    layer_rank_plot(ranks, stable)};
  bool latents = false, cosines = false;
  for (const RankExtras& extras : ranks.extras()) {
    latents = latents || !extras.latents.empty();
    cosines = cosines || !extras.cosines.empty();
  }
  if (latents) {
    LayerPlot of_latents = entropy;
    of_latents.title = "Entropy rank of the latents of real clips";
    of_latents.of = &RankExtras::latents;
    plots.push_back(layer_rank_plot(ranks, of_latents));
    of_latents.title = "Entropy rank of their keys and values";
    of_latents.of = &RankExtras::content;
    plots.push_back(layer_rank_plot(ranks, of_latents));
  }
  if (cosines) plots.push_back(overlap_plot(ranks));
  for (const int64_t rank : ranks.energy_ranks()) plots.push_back(energy_plot(ranks, rank));
  return plots;
}

}  // namespace

std::string rank_section(const RunContents& run) {
  if (const RankLog* joint = run.joint_ranks()) {
    return html_section(
        {.heading = "Effective rank of keys' and values' weights",
         .meaning = kJointMeaning,
         .content = plot_grid(rank_plot_list(*joint)) + kGap + joint_table(*joint)});
  }
  const RankLog* ranks = run.measured_ranks();
  if (ranks == nullptr) {
    return html_section(
        {.heading = "Effective rank",
         .content = absence("rank.h5 is not there: no rank has been measured yet (rank.every).")});
  }
  return html_section({.heading = "Effective rank",
                       .meaning = meaning_of(*ranks),
                       .content = plot_grid(rank_plot_list(*ranks)) + kGap + rank_table(*ranks)});
}

}  // namespace vmla::analysis
