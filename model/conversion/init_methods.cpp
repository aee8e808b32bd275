#include "model/conversion/init_methods.h"

#include <algorithm>
#include <iterator>

#include "model/io/format.h"

namespace vmla::model {
namespace {

/// "a, b or c", of the texts that `text_of` makes from the rows.
template <class TextOf>
std::string choice_of(TextOf text_of) {
  constexpr size_t kCount = std::size(kInitMethods);
  std::string text;
  for (size_t i = 0; i < kCount; ++i) {
    text += i == 0 ? "" : i + 1 == kCount ? " or " : ", ";
    text += text_of(kInitMethods[i]);
  }
  return text;
}

}  // namespace

const InitMethod* find_init_method(std::string_view name) {
  const auto* found = std::ranges::find(kInitMethods, name, &InitMethod::name);
  return found == std::end(kInitMethods) ? nullptr : found;
}

std::vector<std::string> init_method_names() {
  std::vector<std::string> names;
  for (const InitMethod& method : kInitMethods) names.emplace_back(method.name);
  return names;
}

const std::string& init_method_choice() {
  static const std::string text =
      choice_of([](const InitMethod& method) { return std::string(method.name); });
  return text;
}

const std::string& init_method_help() {
  static const std::string text =
      "how dense weights become latent attention: " + choice_of([](const InitMethod& method) {
        return formatted("{} ({})", method.name, method.help);
      }) +
      "; empty: weights are taken as they are";
  return text;
}

}  // namespace vmla::model
