#include "model/formats/network_choice.h"

#include <algorithm>
#include <optional>
#include <span>

#include "model/io/error.h"
#include "model/io/quoted_name.h"

namespace vmla::model {
namespace {

using io::quoted_name;

/// Calls `visit(begin of the component, component)` for "a", "b" and "c" of "a.b.c".
template <class Visit>
void for_each_component(std::string_view name, const Visit& visit) {
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    visit(begin, name.substr(begin, end - begin));
    begin = end + 1;
  }
}

/// A name that is known to be a network's: what stands in front, and the network's own name.
struct Place {
  std::string prefix, own;
};

/// The name without its components `module`, which wrappers of single layers are called.
std::string without_modules(std::string_view name) {
  std::string out;
  for_each_component(name, [&](size_t, std::string_view component) {
    if (component != "module") out.append(out.empty() ? "" : ".").append(component);
  });
  return out;
}

/// The longest end of `name` that is a network's own; none where no end is.
std::optional<Place> place_of(const std::string& name, const IsOwnName& is_own) {
  std::optional<Place> place;
  for_each_component(name, [&](size_t begin, std::string_view component) {
    if (place || component == "module") return;  // in front, it is part of the prefix
    std::string own = name.substr(begin);
    if (!is_own(own)) own = without_modules(own);
    if (is_own(own)) place = {.prefix = name.substr(0, begin), .own = std::move(own)};
  });
  return place;
}

bool has_component(std::string_view prefix, std::string_view wanted) {
  bool found = false;
  for_each_component(
      prefix, [&](size_t, std::string_view component) { found = found || component == wanted; });
  return found;
}

/// "vae." of "vae.conv.weight".
std::string first_component(const std::string& name) {
  return name.substr(0, std::min(name.find('.'), name.size() - 1) + 1);
}

/// What all names begin with, up to a dot.
std::string common_prefix(const std::vector<std::string>& names) {
  if (names.empty()) return {};
  const auto [least, most] = std::ranges::minmax(names);
  const auto differ = std::ranges::mismatch(least, most).in1;
  const std::string same(least.begin(), differ);
  return same.substr(0, same.rfind('.') + 1);
}

[[noreturn]] void refuse_no_network(const std::vector<std::string>& names,
                                    const std::string& own_example,
                                    const std::string& source) {
  if (names.empty()) fail_user("{}: holds no tensors", source);
  const std::string prefix = common_prefix(names);
  fail_user(
      "{}: holds no such network: none of its {} tensors has a name like {}; {}, the first is {}",
      source,
      names.size(),
      quoted_name(own_example),
      prefix.empty() ? "their names share no prefix" : "all begin with " + quoted_name(prefix),
      quoted_name(std::ranges::min(names)));
}

/// The networks' prefixes, with the number of names that `is_own` knows. What has far fewer than
/// the largest is no network but something that has a name in common with one.
std::map<std::string, size_t> network_prefixes(const std::vector<std::optional<Place>>& places) {
  std::map<std::string, size_t> counts;
  for (const auto& place : places) {
    if (place) ++counts[place->prefix];
  }
  size_t most = 0;
  for (const auto& [prefix, count] : counts) most = std::max(most, count);
  std::erase_if(counts, [&](const auto& entry) { return entry.second * 4 < most; });
  return counts;
}

std::string chosen_prefix(const std::map<std::string, size_t>& networks,
                          const std::string& role,
                          const std::string& source) {
  static constexpr std::string_view kAveraged[] = {
      "generator_ema", "generator", "model", "state_dict"};
  static constexpr std::string_view kRaw[] = {"generator", "model", "state_dict", "generator_ema"};
  const std::string_view named[] = {role};
  const bool any = role.empty() || role == "ema" || role == "raw";
  if (any && networks.size() == 1) return networks.begin()->first;
  const auto roles = !any            ? std::span<const std::string_view>(named)
                     : role == "raw" ? std::span<const std::string_view>(kRaw)
                                     : std::span<const std::string_view>(kAveraged);
  for (const std::string_view wanted : roles) {
    std::vector<std::string> fitting;
    for (const auto& [prefix, count] : networks) {
      if (has_component(prefix, wanted)) fitting.push_back(prefix);
    }
    if (fitting.size() == 1) return fitting[0];
  }
  std::string list;
  for (const auto& [prefix, count] : networks)
    list += (list.empty() ? "" : ", ") + quoted_name(prefix);
  fail_user(
      "{}: holds {}, whose names begin with {}; {}",
      source,
      networks.size() == 1 ? "one network" : "several networks",
      list,
      any ? "none of these is generator_ema, generator, model or state_dict: save one by itself"
          : "none of these is " + quoted_name(role));
}

}  // namespace

std::string without_wrappers(std::string_view name) {
  std::string out;
  for_each_component(name, [&](size_t begin, std::string_view component) {
    const bool last = begin + component.size() == name.size();
    if (!last && component.starts_with('_')) return;
    out.append(component).append(last ? "" : ".");
  });
  return out;
}

NetworkChoice choose_network(const std::vector<std::string>& names,
                             const IsOwnName& is_own,
                             const std::string& own_example,
                             const std::string& role,
                             const std::string& source) {
  std::vector<std::string> unwrapped;
  std::vector<std::optional<Place>> places;
  for (const std::string& name : names) {
    unwrapped.push_back(without_wrappers(name));
    places.push_back(place_of(unwrapped.back(), is_own));
  }
  const std::map<std::string, size_t> networks = network_prefixes(places);
  if (networks.empty()) refuse_no_network(names, own_example, source);
  NetworkChoice choice;
  choice.prefix = chosen_prefix(networks, role, source);
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string& name = unwrapped[i];
    // One that a network with a longer prefix has is that network's.
    const bool own_place = places[i] && places[i]->prefix == choice.prefix;
    const bool others_own = places[i] && !own_place && networks.contains(places[i]->prefix);
    if (others_own || !name.starts_with(choice.prefix)) {
      ++choice.others[others_own ? places[i]->prefix : first_component(name)];
      continue;
    }
    const std::string own = own_place ? places[i]->own : name.substr(choice.prefix.size());
    if (!choice.names.emplace(own, names[i]).second) {
      fail_user("{}: two tensors are called {} without their prefixes: {} and {}",
                source,
                quoted_name(own),
                quoted_name(choice.names.at(own)),
                quoted_name(names[i]));
    }
  }
  return choice;
}

std::string list_others(const std::map<std::string, size_t>& others) {
  constexpr size_t kShown = 6;
  std::string list;
  size_t shown = 0;
  for (const auto& [name, count] : others) {
    if (shown++ == kShown) return list + formatted(" and {} more", others.size() - kShown);
    list += (list.empty() ? "" : ", ") + quoted_name(name);
    if (count > 0) list += formatted(" ({} tensor{})", count, count == 1 ? "" : "s");
  }
  return list;
}

}  // namespace vmla::model
