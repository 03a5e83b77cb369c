# Hashes, strings, sorting and substitution; prints a digest of what comes out.
words = (1..120_000).map { |n| "w#{(n * 7919) % 5003}" + "x" * (n % 30) }
count = Hash.new(0)
words.each { |word| count[word] += 1 }
ranked = count.sort_by { |word, times| [-times, word] }
text = words.join(" ")
swapped = text.gsub(/w(\d+)x*/) { "#{$1.to_i + 1};" }
trees = (1..40).map do |round|
  (1..2_000).map { |n| { id: n, name: "node #{n}", links: Array.new(n % 7) { |i| i * round } } }
end
sum = trees.flatten.sum { |node| node[:links].sum + node[:name].size }
puts [ranked.size, ranked.first.join(":"), swapped.size, sum].join(" ")
