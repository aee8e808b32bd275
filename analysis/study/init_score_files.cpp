#include "analysis/study/init_score.h"
#include "model/io/atomic_file.h"
#include "model/io/format.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <string_view>

namespace vmla::analysis {
namespace {

struct Figure {
  const char* name;
  const char* head;  // in the table
  double LayerScore::* member;
};
constexpr Figure kFigures[] = {
    {.name = "weight_error", .head = "weights", .member = &LayerScore::weight_error},
    {.name = "key_error", .head = "keys", .member = &LayerScore::key_error},
    {.name = "value_error", .head = "values", .member = &LayerScore::value_error},
    {.name = "rope_energy_kept", .head = "rope kept", .member = &LayerScore::rope_energy_kept},
    {.name = "output_error", .head = "attention", .member = &LayerScore::output_error},
    {.name = "refined_from", .head = "refined:", .member = &LayerScore::refined_from},
    {.name = "refined_to", .head = "to", .member = &LayerScore::refined_to}};

nlohmann::ordered_json number(double value) {
  if (std::isnan(value)) return nullptr;
  return value;
}

std::string cell(double value) {
  return std::isnan(value) ? "" : formatted("{:g}", value);
}

std::string fixed(double value) {
  return std::isnan(value) ? "-" : formatted("{:.4f}", value);
}

std::string left(const std::string& text, size_t width) {
  return text + std::string(width > text.size() ? width - text.size() : 0, ' ');
}

std::string right(const std::string& text, size_t width) {
  return std::string(width > text.size() ? width - text.size() : 0, ' ') + text;
}

double mean(const std::vector<LayerScore>& layers, double LayerScore::* member) {
  double sum = 0;
  for (const LayerScore& layer : layers) sum += layer.*member;
  return sum / static_cast<double>(layers.size());
}

/// The figures of the table: those of refinement only where something was refined.
std::vector<Figure> shown_figures(const InitScores& scores) {
  std::vector<Figure> shown;
  for (const Figure& figure : kFigures) {
    const bool of_refinement = std::string_view(figure.name).starts_with("refined");
    const bool measured = std::ranges::any_of(scores.methods, [&](const MethodScore& method) {
      return !std::isnan(mean(method.layers, figure.member));
    });
    if (measured || !of_refinement) shown.push_back(figure);
  }
  return shown;
}

std::string csv(const InitScores& scores) {
  std::string text = "method,layer";
  for (const Figure& figure : kFigures) text += formatted(",{}", figure.name);
  text += ",velocity_error,first_loss,dense_loss\n";
  for (const MethodScore& method : scores.methods) {
    for (size_t i = 0; i < method.layers.size(); ++i) {
      text += formatted("{},{}", method.method, i);
      for (const Figure& figure : kFigures) text += "," + cell(method.layers[i].*figure.member);
      text += ",,,\n";
    }
    text += method.method + ",all";
    for (const Figure& figure : kFigures) text += "," + cell(mean(method.layers, figure.member));
    text += formatted(",{},{},{}\n",
                      cell(method.velocity_error),
                      cell(method.first_loss),
                      cell(scores.dense_loss));
  }
  return text;
}

std::string json(const InitScores& scores) {
  nlohmann::ordered_json root;
  root["dense_loss"] = number(scores.dense_loss);
  for (const MethodScore& method : scores.methods) {
    nlohmann::ordered_json one{{"method", method.method},
                               {"velocity_error", number(method.velocity_error)},
                               {"first_loss", number(method.first_loss)},
                               {"layers", nlohmann::ordered_json::array()}};
    for (const LayerScore& layer : method.layers) {
      nlohmann::ordered_json row;
      for (const Figure& figure : kFigures) row[figure.name] = number(layer.*figure.member);
      one["layers"].push_back(row);
    }
    root["methods"].push_back(one);
  }
  return root.dump(2) + "\n";
}

}  // namespace

std::string init_score_table(const InitScores& scores) {
  const std::vector<Figure> shown = shown_figures(scores);
  constexpr size_t kName = 20, kColumn = 11;
  std::string text = left("method", kName);
  for (const Figure& figure : shown) text += right(figure.head, kColumn);
  text += right("velocity", kColumn) + right("first loss", kColumn) + "\n";
  for (const MethodScore& method : scores.methods) {
    text += left(method.method, kName);
    for (const Figure& figure : shown)
      text += right(fixed(mean(method.layers, figure.member)), kColumn);
    text += right(fixed(method.velocity_error), kColumn) + right(fixed(method.first_loss), kColumn);
    text += "\n";
  }
  if (!std::isnan(scores.dense_loss))
    text += formatted("the dense model's loss: {}\n", fixed(scores.dense_loss));
  return text;
}

void write_init_scores(const InitScores& scores, const std::filesystem::path& out) {
  std::filesystem::create_directories(out);
  io::write_file_atomically(out / "init_scores.csv", csv(scores));
  io::write_file_atomically(out / "init_scores.json", json(scores));
}

}  // namespace vmla::analysis
