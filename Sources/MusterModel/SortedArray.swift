extension Array {
    /// Where the elements begin for which `isAtOrBehind` holds, in an array whose other elements all come before them.
    ///
    /// - Returns: `endIndex` where it holds for none.
    package func firstIndexOfSorted(where isAtOrBehind: (Element) -> Bool) -> Int {
        var (low, high) = (startIndex, endIndex)
        while low < high {
            let middle = low + (high - low) / 2
            if isAtOrBehind(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
